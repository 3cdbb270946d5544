//! A million blocks.

use std::sync::Arc;
use std::time::Instant;

use crate::clock::ManualClock;
use crate::manifest::testing::{at, block, block_ref, published, stats};
use crate::manifest::{BlockFilter, Journal, Manifest, Record};
use crate::model::{Outcome, Timestamp};

const SYMBOLS: i64 = 1_000;
const DAYS: i64 = 1_000;

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let value = work();
    println!("{what}: {:.3} s", begun.elapsed().as_secs_f64());
    value
}

fn size(manifest: &Manifest) -> u64 {
    std::fs::metadata(manifest.path()).unwrap().len()
}

#[test]
#[ignore = "measures for a minute: cargo test --release --all-features --lib a_million_blocks -- --ignored --nocapture"]
fn a_million_blocks_fold_and_answer_in_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = Manifest::new(dir.path(), Arc::new(ManualClock::new(1)));
    let journal = Journal::create(dir.path()).unwrap();
    timed("append 1 M records", || {
        for number in 0..SYMBOLS {
            let name = format!("SYM{number:04}");
            let days = (0..DAYS).filter(|day| number % 10 != 0 || day % 100 != 7);
            let batch: Vec<_> = days.map(|day| published(block(&name, day, 1_000 + day))).collect();
            journal.append(&batch).unwrap();
        }
    });
    println!("journal: {} MB", std::fs::metadata(journal.path()).unwrap().len() / 1_000_000);
    let report = timed("fold 1 M records", || manifest.fold().unwrap());
    println!("{report:?}, manifest: {} MB", size(&manifest) / 1_000_000);
    timed("fold nothing", || manifest.fold().unwrap());

    let small = vec![
        Record::Published { block: block("SYM0001", 5, 9_000), stats: vec![stats("a", 1.0), stats("b", 2.0)] },
        Record::Used { block: block_ref("SYM0002", 5), uses: 3, last_used: at(10_000) },
        Record::Requests { minute: 5, view: block("SYM0001", 5, 0).view, outcome: Outcome::Hit, count: 9 },
    ];
    for _ in 0..3 {
        journal.append(&small).unwrap();
        timed("fold 3 records", || manifest.fold().unwrap());
    }
    timed("open and close", || manifest.read(|_| Ok(())).unwrap());
    timed("open, totals, summaries, coverage, views, outcomes, close", || {
        manifest
            .read(|query| {
                timed("  totals", || query.totals())?;
                timed("  summaries", || query.view_summaries())?;
                let coverage = timed("  coverage", || query.coverage())?;
                println!("  {} holes", coverage[0].holes.len());
                timed("  views", || query.views())?;
                timed("  outcomes", || query.outcomes(Timestamp::from_ns(0), Timestamp::MAX))?;
                timed("  top misses", || query.top_misses(Timestamp::from_ns(0), 10)).map(drop)
            })
            .unwrap();
    });
    let blocks = timed("open, all blocks, close", || {
        manifest.read(|query| timed("  all blocks", || query.blocks(&BlockFilter::default()))).unwrap()
    });
    timed("rebuild from 1 M rows", || {
        manifest.rebuild(Timestamp::MAX, blocks.into_iter().map(|block| (block, Vec::new()))).unwrap()
    });
    println!("manifest: {} MB", size(&manifest) / 1_000_000);
    let uses: Vec<_> = (0..DAYS)
        .flat_map(|day| {
            (0..100).map(move |n| Record::Used {
                block: block_ref(&format!("SYM{n:04}"), day),
                uses: 1,
                last_used: at(20_000),
            })
        })
        .collect();
    journal.append(&uses).unwrap();
    timed("fold 100 k uses", || manifest.fold().unwrap());
    println!("manifest: {} MB", size(&manifest) / 1_000_000);
}
