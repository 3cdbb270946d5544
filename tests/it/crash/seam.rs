//! Faults through the seam that Larder has for the file system, in this process: each call of each operation fails, or is
//! the last one before the machine dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::config::Durability;
use larder::model::{BlockId, SourceName};
use larder::registry::{DefinitionFile, Registry};
use larder::store::{CacheDir, Publish};
use larder::{ErrorKind, FeatureStore, Span, Timestamp};

use super::child::{Desk, Operation, Ways};
use super::faulty::{Fault, Faulty};
use super::fleet::{unknown, whole};
use super::is_long;
use super::strace::Prepared;
use super::syscalls::check;
use super::world::{ENTITIES, Rows};
use crate::damage::files;
use crate::desk::{quiet, symbol, time, view};
use crate::mutate::{Dice, times};

/// Has an operation done on a file system that has this fault, and looks at what is left; whether it came so far.
fn fails_at(before: &Prepared, operation: Operation, at: u64, fault: Fault) -> bool {
    let prepared = before.copy();
    let faulty = Faulty::new(&prepared.dir());
    let mut desk = prepared.open(&faulty);
    faulty.settle();
    let dies = fault == Fault::Torn;
    // What is not durable may be lost.
    desk.expect(dies && operation != Operation::PublishDurable, operation == Operation::Repair);
    faulty.fail(at, fault);
    let done = desk.run(operation);
    let failed = faulty.failed() > 0;
    assert!(failed || done.is_ok(), "{done:?}");
    if dies {
        drop(desk);
        faulty.lose_power(&prepared.cache(), &mut Dice::new(at));
        repair_again(&prepared, operation, at);
    } else {
        faulty.heal();
        desk.recovers();
        drop(desk);
    }
    check(&prepared, operation, dies);
    failed
}

/// Whoever repairs what a repair left dies as well.
fn repair_again(prepared: &Prepared, operation: Operation, at: u64) {
    if operation != Operation::Repair {
        return;
    }
    let faulty = Faulty::new(&prepared.dir());
    let mut desk = prepared.open(&faulty);
    desk.expect(true, true);
    faulty.settle();
    faulty.fail(1 + at * 7 % 40, Fault::Torn);
    let _ = desk.run(operation);
    drop(desk);
    faulty.lose_power(&prepared.cache(), &mut Dice::new(at));
}

#[test]
fn an_operation_whose_calls_fail_leaves_nothing_wrong() {
    for operation in Operation::ALL {
        let before = Prepared::new(operation);
        let mut points = 0;
        for (way, fault) in Fault::ALL.into_iter().enumerate() {
            // Where time is short, one fault after the other in turns.
            let step = if is_long() { 1 } else { Fault::ALL.len() };
            let first = if is_long() { 0 } else { way as u64 };
            points += (first..).step_by(step).take_while(|at| fails_at(&before, operation, *at, fault)).count();
        }
        assert!(points > 3, "{operation:?} failed at {points} calls");
        println!("{operation:?}: failed at {points} calls, once, for ever and with the power");
    }
}

#[test]
fn what_fails_leaves_no_block_that_the_manifest_does_not_know() {
    for operation in [Operation::Publish, Operation::PublishDurable, Operation::Evict, Operation::Invalidate] {
        let before = Prepared::new(operation);
        for at in 0.. {
            let prepared = before.copy();
            let faulty = Faulty::new(&prepared.dir());
            let mut desk = prepared.open(&faulty);
            desk.expect(true, false);
            faulty.fail(at, Fault::Once);
            let _ = desk.run(operation);
            let failed = faulty.failed() > 0;
            faulty.heal();
            desk.flush();
            drop(desk);
            let unknown = unknown(&prepared.cache());
            assert_eq!(unknown, [], "{operation:?}, after call {at} failed");
            if !failed {
                assert!(at > 3, "{operation:?} makes {at} calls");
                println!("{operation:?}: failed at each of {at} calls, and the manifest knows every block");
                break;
            }
        }
    }
}

/// Operations of which one fails somewhere and is done again, until all have succeeded; then the power fails, and nothing
/// that was not synced is there. Whether a call failed.
fn repeated(before: &Prepared, operations: &[Operation], at: u64) -> bool {
    let prepared = before.copy();
    let faulty = Faulty::new(&prepared.dir());
    let mut desk = prepared.open(&faulty);
    desk.expect(false, false);
    faulty.settle();
    faulty.fail(at, Fault::Once);
    for operation in operations {
        while let Err(error) = desk.run(*operation) {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        }
    }
    let failed = faulty.failed() > 0;
    drop(desk);
    faulty.lose_all(&prepared.cache());
    check(&prepared, operations[0], true);
    failed
}

#[test]
fn what_is_done_again_after_it_failed_is_done() {
    use Operation::{Evict, Invalidate, Push};
    for operations in [&[Push][..], &[Invalidate], &[Evict, Invalidate]] {
        let before = Prepared::new(operations[0]);
        let points = (0..).take_while(|at| repeated(&before, operations, *at)).count();
        assert!(points > 3, "{operations:?} failed at {points} calls");
        println!("{operations:?}: failed at each of {points} calls, done again, then the power cut");
    }
}

#[test]
fn rows_of_a_push_that_failed_are_in_no_block_where_a_power_cut_took_them() {
    let before = Prepared::new(Operation::Push);
    let mut settings = quiet();
    settings.durability = Durability::Durable;
    settings.compute.error_backoff = Duration::ZERO;
    for at in 0.. {
        let prepared = before.copy();
        let (faulty, cache, world) = (Faulty::new(&prepared.dir()), prepared.cache(), prepared.world());
        let desk = Desk::try_open(&cache, &world, 0, settings.clone(), Some(faulty.clone())).unwrap();
        faulty.settle();
        faulty.fail(at, Fault::Once);
        let _ = desk.try_to_push(Rows::Own);
        let failed = faulty.failed() > 0;
        faulty.heal();
        // Somebody else may find its note, and finish what it says.
        drop(Desk::try_open(&cache, &world, 0, settings.clone(), Some(faulty.clone())).unwrap());
        // Whoever asks meanwhile has a block with what is there, and it is on the disk.
        desk.check_pushed();
        drop(desk);
        faulty.lose_all(&cache);
        let rows = || Desk::open(&cache, &world, 0, quiet()).try_to_check_pushed().unwrap();
        let served = rows();
        std::fs::remove_dir_all(cache.join("blocks/view=ticks")).unwrap();
        assert_eq!(served, rows(), "rows that are served and that there are, after call {at} failed");
        if !failed {
            println!("a push failed at each of {at} calls, and was not done again: nothing is served of what was lost");
            break;
        }
    }
}

#[test]
fn a_block_is_durable_although_another_one_beside_it_could_not_be_synced() {
    let before = Prepared::new(Operation::PublishDurable);
    for at in 0.. {
        let prepared = before.copy();
        let faulty = Faulty::new(&prepared.dir());
        let mut desk = prepared.open(&faulty);
        desk.expect(false, false);
        faulty.settle();
        faulty.fail(at, Fault::Once);
        desk.run(Operation::PublishDurable).unwrap();
        faulty.heal();
        desk.ask(ENTITIES - 1, 3, 1);
        let failed = faulty.failed() > 0;
        drop(desk);
        faulty.lose_all(&prepared.cache());
        check(&prepared, Operation::PublishDurable, true);
        if !failed {
            println!("a publish failed at each of {at} calls, another one beside it, then the power cut");
            break;
        }
    }
}

#[test]
fn a_block_is_durable_although_another_process_made_its_directory_and_could_not_sync_it() {
    let desk = tempfile::tempdir().unwrap();
    let (faulty, cache) = (Faulty::new(desk.path()), desk.path().join("cache"));
    let open = || CacheDir::open_on(faulty.as_disk(), &cache, Publish::Durable, "one of two").unwrap();
    let range = Span::Day.block_of(time("2024-03-01"));
    let block =
        BlockId { view: view().name().clone(), fingerprint: view().fingerprint(), entity: symbol("EURUSD"), range };
    let (one, other) = (open(), open());
    let publish = |dir: &CacheDir, bytes: &[u8]| {
        dir.publish(&block, bytes, dir.generation(dir.slots(&block.view, &block.entity)), Timestamp::default)
    };
    assert!(publish(&one, b"first").unwrap().is_some());
    // The first call whose failure leaves a block that was not synced, and that is told.
    let failed = (0..100).find(|at| {
        other.evict(&block, |_| true, || ()).unwrap();
        faulty.fail(*at, Fault::Once);
        let published = publish(&other, b"second");
        faulty.heal();
        published.is_ok_and(|published| published.is_some_and(|published| published.not_synced.is_some()))
    });
    assert!(failed.is_some());
    assert!(publish(&one, b"third").unwrap().is_some());
    drop((one, other));
    faulty.lose_all(&cache);
    assert_eq!(open().read(&block).unwrap().as_deref(), Some(&b"third"[..]), "after call {failed:?} failed");
}

#[test]
fn what_is_durable_is_not_lost_with_a_cache_whose_first_opening_failed() {
    let range = Span::Day.block_of(time("2024-03-01"));
    let id =
        BlockId { view: view().name().clone(), fingerprint: view().fingerprint(), entity: symbol("EURUSD"), range };
    for at in 0.. {
        let desk = tempfile::tempdir().unwrap();
        let (faulty, cache) = (Faulty::new(desk.path()), desk.path().join("new/cache"));
        let open = || CacheDir::open_on(faulty.as_disk(), &cache, Publish::Durable, "one of two");
        faulty.fail(at, Fault::ForEver);
        let opened = open().is_ok();
        faulty.heal();
        let dir = open().unwrap();
        let generation = dir.generation(dir.slots(&id.view, &id.entity));
        assert!(dir.publish(&id, b"a block", generation, Timestamp::default).unwrap().is_some());
        drop(dir);
        faulty.lose_all(desk.path());
        assert_eq!(open().unwrap().read(&id).unwrap().as_deref(), Some(&b"a block"[..]), "after call {at} failed");
        if opened {
            assert!(at > 5, "it opens with {at} calls");
            break;
        }
    }
}

#[test]
fn definitions_that_are_applied_again_are_there_although_whoever_applied_them_first_died() {
    let files = || vec![DefinitionFile { path: "/definitions/a.toml".into(), text: "[view.one]".to_owned() }];
    let mut confirmed = 0;
    for at in 0.. {
        let desk = tempfile::tempdir().unwrap();
        let (faulty, cache) = (Faulty::new(desk.path()), desk.path().join("cache"));
        CacheDir::open_on(faulty.as_disk(), &cache, Publish::Fast, "apply").unwrap();
        let registry = Registry::on(faulty.as_disk(), &cache);
        faulty.fail(at, Fault::ForEver);
        let added = registry.add(0, files(), Timestamp::MIN, "ada").is_ok();
        faulty.heal();
        if registry.latest().unwrap().is_some() {
            registry.confirm(1).unwrap();
            confirmed += 1;
            faulty.lose_all(&cache);
            assert_eq!(
                registry.latest().unwrap().map(|version| version.files),
                Some(files()),
                "after call {at} failed"
            );
        }
        if added {
            break;
        }
    }
    // Where its syncs failed, and where nothing did.
    assert!(confirmed > 2, "{confirmed}");
}

#[test]
fn applied_definitions_are_there_once_that_was_said_and_whole_before() {
    const FILES: [&str; 2] = ["[view.one]", "[view.two]"];
    let files = |text: &str| vec![DefinitionFile { path: "/definitions/a.toml".into(), text: text.to_owned() }];
    let (mut points, mut dice) = (0, Dice::new(0));
    for fault in Fault::ALL {
        for at in 0.. {
            let desk = tempfile::tempdir().unwrap();
            let (faulty, cache) = (Faulty::new(desk.path()), desk.path().join("cache"));
            CacheDir::open_on(faulty.as_disk(), &cache, Publish::Fast, "apply").unwrap();
            let registry = Registry::on(faulty.as_disk(), &cache);
            let [first, second] = FILES.map(files);
            faulty.fail(at, fault);
            let added = registry.add(0, first.clone(), Timestamp::MIN, "ada");
            let failed = faulty.failed() > 0;
            faulty.heal();
            faulty.lose_power(&cache, &mut dice);
            match registry.latest().unwrap() {
                Some(found) => assert_eq!(found.files, first, "{fault:?} of call {at}"),
                None => assert!(added.is_err(), "{fault:?} of call {at}: it is lost"),
            }
            let base = registry.latest().unwrap().map_or(0, |version| version.number);
            registry.add(base, second.clone(), Timestamp::MIN, "ben").unwrap();
            faulty.lose_all(&cache);
            assert_eq!(registry.latest().unwrap().map(|version| version.files), Some(second), "{fault:?} of call {at}");
            if !failed {
                break;
            }
            points += 1;
        }
    }
    println!("applying: failed at {points} calls, then the power cut");
    assert!(points > 20);
}

#[test]
fn only_in_the_last_moment_of_a_push_somebody_who_removes_the_file_costs_rows_of_others() {
    let day = time("2024-03-01");
    let source = SourceName::new("ticks").unwrap();
    let add = move |dir: &CacheDir, text: &str| {
        dir.amend_pushed(&source, Some(&symbol("EURUSD")), day, |_, before| {
            Ok(Some([&before.unwrap_or_default(), text.as_bytes()].concat()))
        })
        .unwrap();
    };
    let mut lost = Vec::new();
    for at in 0.. {
        let desk = tempfile::tempdir().unwrap();
        let (faulty, cache) = (Faulty::new(desk.path()), desk.path().join("cache"));
        let dir = CacheDir::open_on(faulty.as_disk(), &cache, Publish::Fast, "mine").unwrap();
        add(&dir, "gone ");
        let file = files(&cache.join("pushed")).remove(0);
        let other = CacheDir::open(&cache, Publish::Fast, "theirs").unwrap();
        let (done, add_theirs, removed) = (Arc::new(AtomicBool::new(false)), add.clone(), file.clone());
        let interrupted = Arc::clone(&done);
        faulty.interrupt(at, move || {
            std::fs::remove_file(&removed).unwrap();
            add_theirs(&other, "theirs ");
            interrupted.store(true, Ordering::Relaxed);
        });
        add(&dir, "mine ");
        if !done.load(Ordering::Relaxed) {
            assert!(at > 8, "it makes {at} calls");
            break;
        }
        if !std::fs::read_to_string(&file).unwrap().contains("theirs ") {
            lost.push(at);
        }
    }
    assert_eq!(lost.len(), 1, "not only before the rename, but at calls {lost:?}");
}

#[test]
fn the_note_of_a_push_is_whole_or_nobody_sees_it() {
    const NOTE: &[u8] = b"what the push is about to change";
    let mut whole = 0;
    for at in 0.. {
        let desk = tempfile::tempdir().unwrap();
        let (faulty, cache) = (Faulty::new(desk.path()), desk.path().join("cache"));
        let dir = CacheDir::open_on(faulty.as_disk(), &cache, Publish::Fast, "push").unwrap();
        faulty.fail(at, Fault::Torn);
        let intended = dir.intend_push(NOTE);
        for note in files(&cache.join("pushed/unfinished")) {
            assert_eq!(std::fs::read(note).unwrap(), NOTE, "after {at} calls");
            whole += u64::from(faulty.failed() > 0);
        }
        if faulty.failed() == 0 {
            intended.unwrap();
            assert!(whole > 0, "no note was there when a call failed");
            println!("the note of a push: failed at each of {at} calls, there after {whole} of them");
            break;
        }
    }
}

#[test]
fn a_store_opens_or_says_why_whichever_call_fails() {
    for at in 0.. {
        let prepared = Prepared::new(Operation::Publish);
        let faulty = Faulty::new(&prepared.dir());
        faulty.fail(at, Fault::ForEver);
        let opened = FeatureStore::builder(prepared.cache()).settings(quiet()).disk(faulty.as_disk()).open();
        if faulty.failed() == 0 {
            println!("opening: failed at {at} calls");
            break;
        }
        if let Err(error) = opened {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.to_string().contains(&*prepared.cache().to_string_lossy()), "{error}");
        }
        check(&prepared, Operation::Publish, false);
    }
}

/// Power cuts on one cache.
const ROUNDS: u64 = 50;

/// What a process does on a file system where calls fail, until the power fails: again and again on the same cache. How
/// many calls failed.
fn storm(durability: Durability, seed: u64) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let (cache, world) = (dir.path().join("cache"), dir.path().join("world"));
    let (faulty, mut dice) = (Faulty::new(dir.path()), Dice::new(seed));
    let mut settings = quiet();
    settings.durability = durability;
    let is_durable = durability == Durability::Durable;
    let ways = if is_durable { Ways::Keeping } else { Ways::All };
    for round in 0..ROUNDS {
        let mut desk = Desk::try_open(&cache, &world, 0, settings.clone(), Some(faulty.clone())).unwrap();
        desk.expect(!is_durable, !is_durable);
        if is_durable {
            desk.check_kept();
        }
        desk.check_pushed();
        desk.check_values();
        for _ in 0..dice.roll(20) {
            if dice.roll(2) == 0 {
                faulty.fail(dice.roll(60) as u64, Fault::ALL[dice.roll(2)]);
            }
            let _ = desk.try_to_act(&mut dice, ways);
            faulty.heal();
        }
        faulty.fail(dice.roll(60) as u64, Fault::Torn);
        let _ = desk.try_to_act(&mut dice, ways);
        drop(desk);
        faulty.heal();
        faulty.lose_power(&cache, &mut dice);
        if round % 8 == 7 {
            whole(&cache, !is_durable);
        }
    }
    assert!(faulty.failed() > 0, "seed {seed}: no call failed");
    faulty.failed()
}

fn storms(durability: Durability, seeds: u64) {
    let failed: u64 = (0..seeds).map(|seed| storm(durability, seed)).sum();
    println!("{} power cuts, {durability:?}, simulated: {failed} calls failed before them", seeds * ROUNDS);
}

#[test]
fn whatever_fails_before_the_power_does_nothing_durable_is_lost() {
    storms(Durability::Durable, times(4, 400));
}

#[test]
fn whatever_fails_before_the_power_does_nothing_fast_is_wrong() {
    storms(Durability::Fast, times(2, 200));
}
