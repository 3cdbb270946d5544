//! Inputs that somebody made wrong on purpose, for tests. A seed decides how, so that what was found is found again.

/// How often to do something: `long` where `LARDER_LONG` is set.
pub fn times(short: u64, long: u64) -> u64 {
    if std::env::var_os("LARDER_LONG").is_some() { long } else { short }
}

/// Numbers that only a seed decides.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// One of `0..below`; 0 where there is none.
    pub fn roll(&mut self, below: usize) -> usize {
        ((self.bits() >> 11) as usize).checked_rem(below).unwrap_or(0)
    }

    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }

    /// A part of `0..length`, mostly short.
    fn part(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.roll(length + 1);
        let most = if self.roll(4) == 0 { length - start } else { (length - start).min(16) };
        start..start + self.roll(most + 1)
    }
}

/// What numbers are wrong at their edges.
const EDGES: [u64; 10] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];

/// `bytes` changed in one to six places; `words` are what this input's reader knows.
pub fn mutate(bytes: &[u8], words: &[&[u8]], dice: &mut Dice) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=dice.roll(6) {
        let part = dice.part(out.len());
        match dice.roll(9) {
            0 | 1 => {
                let (at, bit) = (dice.roll(out.len()), dice.roll(8));
                out.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            2 => {
                let value = dice.bits() as u8;
                out[part].iter_mut().for_each(|byte| *byte = value);
            }
            3 => drop(out.drain(part)),
            4 => {
                let again = out[part].to_vec();
                let at = dice.roll(out.len() + 1);
                drop(out.splice(at..at, again));
            }
            5 => {
                let edge = EDGES[dice.roll(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][dice.roll(4)];
                out.iter_mut().skip(part.start).zip(&edge[..width]).for_each(|(byte, edge)| *byte = *edge);
            }
            6 => {
                let edge = EDGES[dice.roll(EDGES.len())].to_string();
                drop(out.splice(part, edge.into_bytes()));
            }
            7 if !words.is_empty() => drop(out.splice(part, dice.pick(words).iter().copied())),
            7 => out.truncate(part.start),
            _ => {
                let other = dice.part(out.len());
                let moved = out[other].to_vec();
                drop(out.splice(part, moved));
            }
        }
    }
    out
}
