//! Key values that mean harm, and paths that somebody made up.

use std::collections::HashMap;
use std::path::{Component, Path};

use super::escape::{directories, keys_of};
use super::layout::{block_path, entity_directories, identity_of};
use crate::model::{BlockId, EntityKey, TimeRange, Timestamp, ViewName};
use crate::mutate::{Dice, mutate, times};

const WORDS: [&[u8]; 20] = [
    b"..",
    b".",
    b"/",
    b"\\",
    b"\0",
    b"\n",
    b"~",
    b"%",
    b"%2F",
    b"=",
    b"*",
    b"?",
    b"[a-z]",
    b"'",
    b"\"",
    b"CON",
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"\xe2\x80\xae",
    b"symbol=",
];

fn id(entity: EntityKey) -> BlockId {
    let view = ViewName::new("prices").unwrap();
    let fingerprint = "ce20d9dfd7046a750a2891dbead1269d".parse().unwrap();
    BlockId { view, fingerprint, entity, range: TimeRange::parse("2024-03-01", "2024-03-02").unwrap() }
}

#[test]
fn no_two_values_share_a_path_and_each_comes_back_from_its_own() {
    let count = times(100_000, 2_000_000);
    let mut known: HashMap<String, String> = HashMap::new();
    for seed in 0..count {
        let mut dice = Dice::new(seed);
        let text = dice.pick::<[u8]>(&[b"EURUSD", b"spy", b"A.B-C_D", &[b'A'; 220], &[b'.'; 290]]);
        let value = String::from_utf8_lossy(&mutate(text, &WORDS, &mut dice)).into_owned();
        let Ok(entity) = EntityKey::new([("symbol", value.as_str())]) else { continue };
        let parts = entity_directories(&entity);
        for part in &parts {
            assert!(!part.is_empty() && part.len() <= 255 && part.is_ascii(), "seed {seed}: {part:?}");
            let components: Vec<_> = Path::new(part).components().collect();
            assert!(matches!(components[..], [Component::Normal(_)]), "seed {seed}: {part:?}");
            assert!(part.bytes().all(|byte| byte.is_ascii_graphic() && !b"/\\*?[]'\"<>|:".contains(&byte)), "{part:?}");
        }
        let path = parts.join("/");
        let back = keys_of(path.split('/')).unwrap();
        assert_eq!(back, [("symbol".to_owned(), value.clone())], "seed {seed}");
        // Neither on a disk that ignores case.
        let other = known.entry(path.to_lowercase()).or_insert_with(|| value.clone());
        assert_eq!(*other, value, "seed {seed}");
    }
    eprintln!("{count} values: {} distinct paths, 0 collisions, 0 that lead elsewhere", known.len());
    assert!(known.len() as u64 > count / 2);
}

#[test]
fn a_made_up_path_is_no_block_or_the_only_path_of_one() {
    let count = times(60_000, 1_000_000);
    let words: [&[u8]; 10] = [b"..", b"/", b"~", b"~/", b"%2F", b"%41", b"a", b"=", b"view=", b"\0"];
    let entities = [
        EntityKey::new([("symbol", "ETH/USDT")]).unwrap(),
        EntityKey::new([("symbol", "é".repeat(200)), ("venue", "X".to_owned())]).unwrap(),
    ];
    let mut blocks = 0;
    for seed in 0..count {
        let mut dice = Dice::new(seed);
        let honest = block_path(&id(entities[seed as usize % 2].clone()));
        let text =
            String::from_utf8_lossy(&mutate(honest.to_str().unwrap().as_bytes(), &words, &mut dice)).into_owned();
        let Some(identity) = identity_of(Path::new(&text)) else { continue };
        let Ok(entity) = EntityKey::new(identity.keys.clone()) else { continue };
        let range = TimeRange::new(identity.start, Timestamp::from_ns(identity.start.as_ns() + 1)).unwrap();
        let same = BlockId { view: identity.view, fingerprint: identity.fingerprint, entity, range };
        // Keys out of order, or named twice, are nobody's path.
        let sorted = identity.keys.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(!sorted || block_path(&same) == Path::new(&text), "seed {seed}: {text}");
        blocks += 1;
    }
    eprintln!("{count} made-up paths: {blocks} are a block's own, the others nobody's");
    assert!(blocks > 0 && blocks < count);
}

#[test]
fn a_part_of_a_name_is_never_another_name() {
    // The end of one value's directories is not the whole of another's.
    let long = format!("{}/symbol=B", "A".repeat(250));
    let parts = directories("symbol", &long);
    assert!(parts.len() > 1 && parts[..parts.len() - 1].iter().all(|part| part.ends_with('~')), "{parts:?}");
    assert!(keys_of(parts[1..].iter().map(String::as_str)).is_none_or(|keys| keys != [("symbol".into(), "B".into())]));
}
