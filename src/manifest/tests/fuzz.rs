//! Journals that no honest process wrote.

use std::hash::Hasher;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use twox_hash::XxHash3_64;

use crate::manifest::testing::{block, block_ref, manifest, published, read_all, requests, stats, used};
use crate::manifest::{Journal, Record, RemovalReason};
use crate::model::{Outcome, Timestamp};
use crate::mutate::{Dice, mutate, times};

/// What records can say at their edges.
const WORDS: [&str; 12] = [
    "",
    "EURUSD",
    "'; DROP TABLE manifest; --",
    "a\"b\\c",
    "\u{0}",
    "\u{202e}",
    "../../etc/passwd",
    "[*]?",
    "hit",
    "v",
    "NaN",
    "ffffffffffffffffffffffffffffffff",
];

fn honest() -> Vec<Record> {
    vec![
        Record::Published { block: block("ETH/\u{0}\"USDT", 3, 4), stats: vec![stats("rsi_9", 1.5)] },
        published(block("EURUSD", 1, 9)),
        used(2),
        requests(3, Outcome::Hit, 4),
        Record::Removed {
            block: block_ref("EURUSD", 1),
            at: Timestamp::from_ns(9),
            reason: RemovalReason::Quarantined,
        },
        Record::counted(Timestamp::from_ns(9), "featurestore_io_errors_total", vec!["read".to_owned()], 3),
    ]
}

/// The payload as a frame that holds.
fn frame(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    let mut hasher = XxHash3_64::with_seed(0);
    hasher.write(&length);
    hasher.write(payload);
    [b"\xffLJ1".as_slice(), &length, &hasher.finish().to_le_bytes(), payload].concat()
}

/// One of the honest records with other values in some places, or not quite a record.
fn line(dice: &mut Dice) -> Vec<u8> {
    let records = honest();
    let mut record = serde_json::to_value(&records[dice.roll(records.len())]).unwrap();
    for _ in 0..=dice.roll(3) {
        change(&mut record, dice);
    }
    let text = serde_json::to_vec(&record).unwrap();
    if dice.roll(10) == 0 { mutate(&text, &[b"1e400", b"\n", b"\xffLJ1", b"-", b"\\u0000"], dice) } else { text }
}

fn change(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(members) => {
            let at = dice.roll(members.len());
            members.values_mut().skip(at).take(1).for_each(|member| change(member, dice));
        }
        Value::Array(members) if !members.is_empty() => {
            let at = dice.roll(members.len());
            change(&mut members[at], dice);
        }
        Value::String(text) => *text = dice.pick(&WORDS).to_owned(),
        Value::Number(_) => {
            *value = match dice.roll(6) {
                0 => i64::MAX.into(),
                1 => i64::MIN.into(),
                2 => u64::MAX.into(),
                3 => (dice.bits() as i64).into(),
                4 => (-1).into(),
                _ => f64::from_bits(dice.bits()).into(),
            }
        }
        other => *other = [Value::Null, Value::Bool(true), 7.into(), "x".into()][dice.roll(4)].clone(),
    }
}

#[test]
fn journals_changed_at_random_do_not_panic_and_say_nothing_that_was_not_said() {
    let count = times(2_000, 200_000);
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::create(dir.path()).unwrap();
    honest().chunks(2).for_each(|records| journal.append(records).unwrap());
    let (whole, path) = (std::fs::read(journal.path()).unwrap(), dir.path().join("changed"));
    let known: Vec<_> = honest().iter().map(|record| format!("{record:?}")).collect();
    let (mut all, mut skipped) = (0, 0);
    for seed in 0..count {
        std::fs::write(&path, mutate(&whole, &[b"\xffLJ1", b"\xff\xff\xff\xff"], &mut Dice::new(seed))).unwrap();
        let (records, scanned) = read_all(&path);
        for record in records {
            assert!(known.contains(&format!("{record:?}")), "seed {seed}: {record:?}");
            all += 1;
        }
        skipped += u64::from(scanned.damaged + scanned.torn > 0);
    }
    eprintln!("{count} changed journals: {all} records read, each as it was told; damage in {skipped}, 0 panics");
    assert!(all > 0 && skipped > 0);
}

#[test]
fn records_that_say_anything_under_a_right_checksum_are_folded_or_skipped() {
    let count = times(6_000, 200_000);
    let dir = tempfile::tempdir().unwrap();
    drop(Journal::create(dir.path()).unwrap());
    let manifest = manifest(dir.path());
    let (mut folded, mut unknown) = (0, 0);
    for first in (0..count).step_by(500) {
        let path = dir.path().join(format!("journal/1-{first:x}-0.jnl"));
        let lines = (first..(first + 500).min(count)).map(|seed| frame(&line(&mut Dice::new(seed))));
        std::fs::write(&path, lines.collect::<Vec<_>>().concat()).unwrap();
        let report = catch_unwind(AssertUnwindSafe(|| manifest.fold())).unwrap();
        let report = report.unwrap_or_else(|error| panic!("seeds from {first}: {error}"));
        assert_eq!((report.set_aside, report.unreadable), (None, 0), "seeds from {first}");
        folded += report.records;
        unknown += report.unknown;
    }
    eprintln!("{count} forged records: {folded} folded, {unknown} skipped, 0 folds failed");
    assert!(folded > count / 20 && unknown > 0);
    // And what is told after them is folded as ever.
    let journal = Journal::create(dir.path()).unwrap();
    journal.append(&[requests(1, Outcome::Hit, 1)]).unwrap();
    assert_eq!(manifest.fold().unwrap().records, 1);
}
