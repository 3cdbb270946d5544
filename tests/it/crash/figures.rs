//! What processes hold: descriptors, threads, memory, and files beside each other.

use std::fmt;
use std::path::Path;

use crate::damage::files;
use crate::worker::Worker;

/// What is measured, and by how much its median may be larger at the end: absolutely, and in parts of itself.
const KINDS: [(&str, u64, f64); 6] = [
    ("file descriptors", 3, 0.0),
    ("threads", 2, 0.0),
    ("resident kB", 4_096, 0.05),
    ("half-written files", 3, 0.0),
    ("journals", 8, 0.0),
    ("bytes of journals", 1 << 20, f64::INFINITY),
];

/// A journal is left and a new one begun from 16 MiB on.
const LONGEST_JOURNALS: u64 = 100 << 20;

/// Each kind, of all processes together.
pub struct Sample([u64; KINDS.len()]);

impl Sample {
    pub fn of(cache: &Path, processes: &[Worker]) -> Self {
        let of_all = |of: fn(u32) -> u64| processes.iter().map(|process| of(process.id())).sum();
        let parts = files(&cache.join("tmp")).iter().filter(|file| !file.ends_with("lock")).count();
        let journals = files(&cache.join("journal"));
        let bytes = journals.iter().filter_map(|file| file.metadata().ok()).map(|journal| journal.len()).sum();
        Self([of_all(descriptors), of_all(threads), of_all(resident), parts as u64, journals.len() as u64, bytes])
    }
}

fn descriptors(process: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, |entries| entries.count() as u64)
}

fn threads(process: u32) -> u64 {
    status(process, "Threads:")
}

fn resident(process: u32) -> u64 {
    status(process, "VmRSS:")
}

fn status(process: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[derive(Default)]
pub struct Figures(Vec<Sample>);

impl Figures {
    pub fn take(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    fn series(&self, kind: usize) -> Vec<u64> {
        self.0.iter().map(|sample| sample.0[kind]).collect()
    }

    /// What grew, and from what to what.
    pub fn grown(&self) -> Vec<String> {
        let grown = |(kind, (name, more, part)): (usize, &(&str, u64, f64))| {
            let (before, after) = drift(&self.series(kind));
            let allowed = before as f64 + (*more as f64).max(before as f64 * part);
            (after as f64 > allowed).then(|| format!("{name} grew from {before} to {after}"))
        };
        let mut grown: Vec<_> = KINDS.iter().enumerate().filter_map(grown).collect();
        let longest = self.series(KINDS.len() - 1).into_iter().max().unwrap_or(0);
        if longest > LONGEST_JOURNALS {
            grown.push(format!("journals grew to {longest} bytes"));
        }
        grown
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (name, ..)) in KINDS.iter().enumerate() {
            let (series, (before, after)) = (self.series(kind), drift(&self.series(kind)));
            let (least, most) = (series.iter().min().unwrap_or(&0), series.iter().max().unwrap_or(&0));
            writeln!(f, "  {name}: {before} in the middle, {after} at the end ({least} to {most} in all)")?;
        }
        Ok(())
    }
}

/// The medians of the first and of the last quarter of the second half: what fills at the beginning is over by then.
fn drift(series: &[u64]) -> (u64, u64) {
    let (half, eighth) = (series.len() / 2, series.len() / 8);
    (median(&series[half..half + eighth]), median(&series[series.len() - eighth..]))
}

fn median(numbers: &[u64]) -> u64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// Figures of one kind, the others of which stand still.
fn made(kind: usize, of: impl Fn(u64) -> u64) -> Figures {
    let sample = |at| {
        let mut numbers = [100; KINDS.len()];
        numbers[kind] = of(at);
        Sample(numbers)
    };
    Figures((0..240).map(sample).collect())
}

#[test]
fn what_comes_and_goes_is_no_growth_and_a_leak_is() {
    // 400 MB that come and go by a tenth, and a peak now and then.
    let busy = made(2, |at| 400_000 + at * 7_919 % 40_000 + if at % 50 == 0 { 200_000 } else { 0 });
    assert_eq!(busy.grown(), Vec::<String>::new());
    assert_eq!(made(2, |at| 400_000 + (1 - 1 / (at + 1)) * 100_000).grown(), Vec::<String>::new(), "what fills once");
    assert_eq!(made(2, |at| 400_000 + at * 500).grown(), ["resident kB grew from 467500 to 512500"]);
    assert_eq!(made(0, |at| 100 + at / 16).grown(), ["file descriptors grew from 108 to 114"]);
    assert_eq!(made(0, |at| 100 + at % 7).grown(), Vec::<String>::new());
    assert_eq!(made(5, |at| at << 20).grown(), ["journals grew to 250609664 bytes"]);
    assert_eq!(made(4, |at| at / 10).grown(), ["journals grew from 13 to 22"]);
}
