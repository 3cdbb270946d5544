//! Bytes that change in files that processes share: each is noticed, or changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::Timestamp;
use larder::clock::SystemClock;
use larder::manifest::{BlockFilter, BlockRow, FoldReport, Manifest};

use super::child::Desk;
use super::is_long;
use super::world::{DAYS, ENTITIES};
use crate::damage::files;
use crate::desk::quiet;
use crate::mutate::{Dice, times};

/// An error with all that it came from.
fn told(error: &larder::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), std::error::Error::source(error));
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

#[test]
fn wherever_a_file_of_pushed_rows_is_damaged_it_is_named_and_no_row_of_it_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let mut settings = quiet();
    settings.memory.max_mb = 0;
    settings.compute.error_backoff = Duration::ZERO;
    let desk = Desk::open(&cache, &dir.path().join("world"), 0, settings);
    (0..3).for_each(|_| desk.push());
    let rows: Vec<_> =
        files(&cache.join("pushed")).into_iter().filter(|file| file.ends_with("20240201.parquet")).collect();
    let [file] = rows.as_slice() else { panic!("{rows:?}") };
    let good = std::fs::read(file).unwrap();
    let look = |bad: &[u8], what: &str| {
        std::fs::write(file, bad).unwrap();
        let _ = std::fs::remove_dir_all(cache.join("blocks/view=ticks"));
        let error = told(&desk.try_to_check_pushed().expect_err(what));
        assert!(error.contains("20240201.parquet"), "{what}: {error}");
    };
    let mut count = 0;
    for at in 0..good.len() {
        for bit in (0..8).filter(|bit| is_long() || *bit == at % 8) {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            look(&bad, &format!("byte {at}, bit {bit}"));
            count += 1;
        }
        if is_long() || at % 16 == 0 {
            look(&good[..at], &format!("cut at {at}"));
            count += 1;
        }
    }
    std::fs::write(file, &good).unwrap();
    desk.check_pushed();
    desk.push();
    desk.check_pushed();
    eprintln!("{count} damaged files of pushed rows: 0 rows served, each is named");
}

#[test]
fn blocks_are_found_and_invalidated_whatever_is_in_the_table_of_generations() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let mut desk = Desk::open(&cache, &dir.path().join("world"), 0, quiet());
    for number in 0..ENTITIES {
        desk.ask(number, 0, 1);
    }
    let table = File::options().read(true).write(true).open(cache.join("generations")).unwrap();
    let length = table.metadata().unwrap().len();
    for at in 0..length {
        let mut byte = [0];
        table.read_exact_at(&mut byte, at).unwrap();
        table.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).unwrap();
        // Every entity where it may matter, which is where a counter is not the usual one.
        let asked = desk.ask(at as usize % ENTITIES, 0, 1);
        assert_eq!(asked, 1, "byte {at}: what is on the disk is good whatever the table says");
    }
    for number in 0..ENTITIES {
        desk.invalidate(number).unwrap();
        assert_eq!(desk.ask(number, 0, 1), 0);
        assert_eq!(desk.ask(number, 0, 1), 1);
    }
    eprintln!("{length} bytes of the table of generations changed: 0 wrong values");
}

/// Has a process, which holds a block in memory when another one invalidates it, asked for it while this bit is flipped.
fn flip_after(one: &mut Desk, other: &mut Desk, table: &File, bit: u64, invalidate: impl Fn(&Desk)) {
    let flip = || {
        let mut byte = [0];
        table.read_exact_at(&mut byte, bit / 8).unwrap();
        table.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8).unwrap();
    };
    one.ask(0, 0, 1);
    assert_eq!(one.ask(0, 0, 1), 1, "it is not kept");
    invalidate(other);
    other.ask(0, 0, 1);
    flip();
    // Fails where the answer is of before the invalidation.
    one.ask(0, 0, 1);
    flip();
}

#[test]
fn a_bit_of_the_table_of_generations_that_flips_brings_nothing_back_that_was_invalidated() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, world) = (dir.path().join("cache"), dir.path().join("world"));
    let [mut one, mut other] = [0, 1].map(|slot| Desk::open(&cache, &world, slot, quiet()));
    let path = cache.join("generations");
    let table = File::options().read(true).write(true).open(&path).unwrap();
    let (mut count, mut dice) = (0, Dice::new(0));
    let ways: [fn(&Desk); 2] = [|desk| desk.invalidate(0).unwrap(), |desk| desk.invalidate_view().unwrap()];
    for invalidate in ways {
        let before = std::fs::read(&path).unwrap();
        invalidate(&other);
        let after = std::fs::read(&path).unwrap();
        let mut counters: Vec<_> = (0..after.len()).filter(|at| after[*at] != before[*at]).map(|at| at / 8).collect();
        counters.dedup();
        let [counter] = counters[..] else { panic!("{counters:?} were raised") };
        let elsewhere: Vec<_> = (0..times(64, 10_000)).map(|_| dice.roll(after.len() * 8)).collect();
        for bit in (counter * 64..counter * 64 + 64).chain(elsewhere) {
            flip_after(&mut one, &mut other, &table, bit as u64, invalidate);
            count += 1;
        }
    }
    eprintln!("{count} flipped bits of the table of generations beside invalidations: 0 old values");
}

fn rows(manifest: &Manifest) -> (FoldReport, BTreeMap<String, BlockRow>) {
    manifest
        .read(|query| {
            let rows = query.blocks(&BlockFilter::default())?.into_iter();
            let plain = |row: BlockRow| BlockRow { uses: 0, last_used: Timestamp::MIN, ..row };
            Ok((query.report().clone(), rows.map(|row| (row.file.clone(), plain(row))).collect()))
        })
        .unwrap()
}

fn folded(journal: &Path, bytes: &[u8]) -> (FoldReport, BTreeMap<String, BlockRow>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("journal")).unwrap();
    std::fs::write(dir.path().join("journal").join(journal.file_name().unwrap()), bytes).unwrap();
    rows(&Manifest::new(dir.path(), Arc::new(SystemClock)))
}

#[test]
fn wherever_a_journal_is_damaged_the_manifest_has_no_wrong_row_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let mut desk = Desk::open(&cache, &dir.path().join("world"), 0, quiet());
    for number in 0..ENTITIES {
        desk.ask(number, 0, 2);
    }
    let before = files(&cache.join("journal"));
    let [journal] = before.as_slice() else { panic!("{before:?}") };
    let (_, all) = folded(journal, &std::fs::read(journal).unwrap());
    assert_eq!(all.len(), 2 * ENTITIES);
    desk.ask(0, DAYS - 1, 1);
    desk.invalidate(1).unwrap();
    desk.flush();
    let good = std::fs::read(journal).unwrap();
    let (report, truth) = folded(journal, &good);
    let known: BTreeMap<_, _> = all.into_iter().chain(truth.clone()).collect();
    let (mut count, mut missing) = (0, 0);
    // Every byte is tried where records are read; here is what the manifest makes of it.
    let step = if is_long() { 3 } else { 97 };
    for (at, is_cut) in (0..good.len()).step_by(step).flat_map(|at| [(at, false), (at, true)]) {
        let mut bad = good.clone();
        match is_cut {
            true => bad.truncate(at),
            false => bad[at] ^= 1 << (at % 8),
        }
        let (found, rows) = folded(journal, &bad);
        for (file, row) in &rows {
            assert_eq!(Some(row), known.get(file), "byte {at}, cut: {is_cut}");
        }
        assert!(found.records < report.records || rows == truth, "byte {at}: {found:?}");
        let says_so = found.damaged + found.torn > 0;
        // A cut between two appends looks like a journal that was not written further.
        assert!(says_so || is_cut, "byte {at}: {found:?}");
        count += 1;
        missing = missing.max(report.records - found.records);
    }
    eprintln!("{count} damaged journals: 0 wrong rows; of {} records at most {missing} missing", report.records);
}
