//! Which event counts, against a model in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::manifest::testing::{at, block, block_ref, blocks, manifest, published, requests};
use crate::manifest::{BlockRow, Journal, Manifest, Record, RemovalReason};
use crate::model::Outcome;

const SYMBOLS: [&str; 2] = ["A", "B"];

#[derive(Debug, Clone, Copy)]
enum Step {
    Publish,
    Remove,
    Use(u64),
    Fold,
}

/// What the manifest should hold, by symbol.
#[derive(Debug, Default)]
struct Model {
    rows: BTreeMap<&'static str, BlockRow>,
    removed: BTreeMap<&'static str, i64>,
}

impl Model {
    /// One fold: per block the latest event counts, if nothing later is known; then uses are added.
    fn fold(&mut self, batch: &[(&'static str, i64, Step)]) {
        for symbol in SYMBOLS {
            let of_block = batch.iter().filter(|(name, _, step)| *name == symbol && !matches!(step, Step::Use(_)));
            let latest = of_block.clone().max_by_key(|(_, time, _)| *time);
            let removal = of_block.filter(|(.., step)| matches!(step, Step::Remove)).map(|(_, time, _)| *time).max();
            let old = self.rows.get(symbol).cloned();
            let known = old.iter().map(|row| row.created.as_ns()).chain(self.removed.get(symbol).copied()).max();
            match latest {
                Some((_, time, step)) if known.is_none_or(|known| known <= *time) => {
                    self.rows.remove(symbol);
                    self.removed.remove(symbol);
                    if let Step::Remove = step {
                        self.removed.insert(symbol, *time);
                    } else {
                        let old = old.filter(|old| removal.is_none_or(|removal| old.created.as_ns() > removal));
                        let mut row = block(symbol, 1, *time);
                        row.uses = old.as_ref().map_or(0, |old| old.uses);
                        row.last_used = old.map_or(row.last_used, |old| old.last_used.max(row.last_used));
                        self.rows.insert(symbol, row);
                    }
                }
                _ => {}
            }
        }
        for (symbol, time, step) in batch {
            if let (Step::Use(uses), Some(row)) = (step, self.rows.get_mut(symbol)) {
                row.uses += uses;
                row.last_used = row.last_used.max(at(*time));
            }
        }
    }
}

fn record(symbol: &str, time: i64, step: Step) -> Record {
    match step {
        Step::Remove => Record::Removed { block: block_ref(symbol, 1), at: at(time), reason: RemovalReason::Size },
        Step::Use(uses) => Record::Used { block: block_ref(symbol, 1), uses, last_used: at(time) },
        Step::Publish | Step::Fold => published(block(symbol, 1, time)),
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![4 => Just(Step::Publish), 3 => Just(Step::Remove), 2 => (1u64..5).prop_map(Step::Use), 2 => Just(Step::Fold)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_order_of_journals_and_folds_ends_as_the_model_says(
        steps in prop::collection::vec((0usize..2, 0usize..2, 0i64..40, step()), 1..14),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let manifest = manifest(dir.path());
        let journals = [Journal::create(dir.path()).unwrap(), Journal::create(dir.path()).unwrap()];
        let (mut model, mut batch, mut all) = (Model::default(), Vec::new(), Vec::new());
        for (number, (symbol, journal, time, step)) in steps.into_iter().enumerate() {
            if let Step::Fold = step {
                manifest.fold().unwrap();
                model.fold(&std::mem::take(&mut batch));
                continue;
            }
            // Times differ, as those of two processes do.
            let event = (SYMBOLS[symbol], time * 100 + number as i64, step);
            journals[journal].append(&[record(event.0, event.1, step)]).unwrap();
            batch.push(event);
            all.push(event);
        }
        model.fold(&batch);
        let found = blocks(&manifest);
        let expected: Vec<_> = model.rows.values().cloned().collect();
        prop_assert_eq!(&found, &expected);
        // Which blocks are there does not depend on when anybody folded.
        let mut once = Model::default();
        once.fold(&all);
        let created = |rows: &[BlockRow]| rows.iter().map(|row| (row.entity.clone(), row.created)).collect::<Vec<_>>();
        prop_assert_eq!(created(&found), created(&once.rows.into_values().collect::<Vec<_>>()));
    }
}

fn folded(records: &[&[Record]]) -> (tempfile::TempDir, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(dir.path());
    let journal = Journal::create(dir.path()).unwrap();
    for batch in records {
        journal.append(batch).unwrap();
        manifest.fold().unwrap();
    }
    (dir, manifest)
}

#[test]
fn at_the_same_instant_the_later_record_counts() {
    let (publish, remove) = (record("A", 5, Step::Publish), record("A", 5, Step::Remove));
    for (order, left) in [([&publish, &remove], 0), ([&remove, &publish], 1)] {
        let both: Vec<_> = order.into_iter().cloned().collect();
        assert_eq!(blocks(&folded(&[&both]).1).len(), left);
        assert_eq!(blocks(&folded(&[&both[..1], &both[1..]]).1).len(), left);
    }
}

#[test]
fn an_extended_tail_replaces_its_row_and_statistics_and_keeps_its_uses() {
    let tail = BlockRow { known_until: at(10), ..block("A", 1, 1) };
    let stats = |name: &str| vec![crate::manifest::testing::stats(name, 1.0)];
    let (_dir, manifest) = folded(&[
        &[Record::Published { block: tail, stats: stats("old") }, record("A", 7, Step::Use(3))],
        &[Record::Published { block: block("A", 1, 9), stats: stats("new") }],
    ]);
    let expected = BlockRow { uses: 3, ..block("A", 1, 9) };
    assert_eq!(blocks(&manifest), [expected]);
    let kept = manifest.read(|query| query.column_stats(&block_ref("A", 1))).unwrap();
    assert_eq!(kept, stats("new"));
}

#[test]
fn history_older_than_forty_days_goes() {
    let dir = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(crate::clock::ManualClock::new(0));
    let manifest = Manifest::new(dir.path(), clock.clone());
    let journal = Journal::create(dir.path()).unwrap();
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    journal.append(&[requests(0, Outcome::Hit, 1), requests(2 * 1440, Outcome::Hit, 10)]).unwrap();
    manifest.fold().unwrap();
    clock.advance(days(41));
    journal.append(&[requests(41 * 1440, Outcome::Hit, 100)]).unwrap();
    assert_eq!(crate::manifest::testing::counted(&manifest), 110);
}
