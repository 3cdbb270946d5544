//! Processes that are stopped in the middle of what they do: nobody waits for them longer than a limit.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use larder::ErrorKind;
use rustix::process::{Pid, Signal, kill_process};

use super::child::{Desk, Operation};
use super::fleet::whole;
use super::strace::{Prepared, Strace};
use super::world::{ENTITIES, Rows};
use crate::desk::quiet;
use crate::tools::tool;

/// How long a request waits for whoever computes.
const WAIT: Duration = Duration::from_secs(1);
/// After this a process that still stands in the way is killed, so that whatever waits for it is told apart from what
/// is merely slow.
const TOO_LONG: Duration = Duration::from_secs(120);

/// Stops a process that does this after the first, or whichever, of these calls, has something done beside it, and lets it
/// go on.
fn beside_one_that_stands_still(
    operation: Operation,
    (call, which): (&str, u32),
    slot: usize,
    meanwhile: impl FnOnce(&mut Desk),
) {
    let Some(strace) = tool("strace") else { return };
    let prepared = Prepared::new(operation);
    let mut settings = quiet();
    settings.compute.wait_timeout = WAIT;
    settings.memory.max_mb = 0;
    let mut desk = Desk::open(&prepared.cache(), &prepared.world(), slot, settings);
    let mut process = prepared.start();
    let strace = Strace::attach(&strace, &process, call, &format!("signal=SIGSTOP:when={which}"));
    process.say("go");
    strace.wait_until_stopped();
    let id = Pid::from_raw(process.id().cast_signed()).unwrap();
    let (done, ended) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let is_late = ended.recv_timeout(TOO_LONG) == Err(mpsc::RecvTimeoutError::Timeout);
        if is_late {
            let _ = kill_process(id, Signal::KILL);
        }
        assert!(!is_late, "somebody waits for a process that stands still");
    });
    desk.is_faulty = true;
    meanwhile(&mut desk);
    drop(done);
    watch.join().unwrap();
    desk.is_faulty = false;
    // Or it would stop the first such call of another thread too.
    drop(strace);
    process.signal(Signal::CONT);
    assert_eq!(process.hear_or_end().as_deref(), Some("done"), "{}", prepared.last_words());
    drop(process);
    // As if nothing had been.
    desk.invalidate(0).unwrap();
    desk.ask(0, 0, 3);
    assert_eq!(desk.ask(0, 0, 3), 3, "blocks are kept again");
    desk.push();
    desk.check_pushed();
    let folds = desk.folds();
    desk.fold();
    assert_eq!(desk.folds(), folds + 1);
    drop(desk);
    whole(&prepared.cache(), false);
}

/// How long it took.
fn timed<T>(what: impl FnOnce() -> T) -> Duration {
    let began = Instant::now();
    what();
    began.elapsed()
}

/// Requests are answered without being kept, which is counted, and an invalidation says who stands in the way.
fn nothing_is_published(desk: &mut Desk) {
    let first = timed(|| desk.ask(3, 0, 1));
    let others = timed(|| (1..6).map(|day| desk.ask(3, day, 1)).sum::<u64>());
    assert_eq!(desk.ask(3, 0, 1), 0, "it was kept");
    assert!(others < first, "each request waits anew: {first:?}, then {others:?} for five");
    let metrics = desk.store.metrics_text().unwrap();
    for line in [
        "featurestore_io_errors_total{operation=\"publish\"} 7",
        "featurestore_dropped_publishes_total{reason=\"io\"} 7",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
    let refused = timed(|| {
        let error = desk.invalidate(3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
        assert!(error.to_string().contains("was held by another process for 5s"), "{error}");
    });
    eprintln!(
        "a stopped publisher: answered after {first:?}, five more after {others:?}, invalidate Busy after {refused:?}"
    );
}

#[test]
fn others_compute_themselves_what_a_process_that_was_stopped_computes() {
    beside_one_that_stands_still(Operation::Publish, ("flock", 1), 1, |desk| {
        let took = timed(|| desk.ask(ENTITIES - 1, 0, 1));
        assert!(took >= WAIT, "nobody computed: {took:?}");
        eprintln!("a stopped leader: answered after {took:?}");
        assert_eq!(desk.ask(ENTITIES - 1, 0, 1), 1, "it was not kept");
    });
}

#[test]
fn nobody_waits_for_a_process_that_was_stopped_while_it_publishes() {
    beside_one_that_stands_still(Operation::Publish, ("rename", 1), 1, nothing_is_published);
}

#[test]
fn nobody_waits_for_a_process_that_was_stopped_while_it_invalidates() {
    beside_one_that_stands_still(Operation::Invalidate, ("unlink,unlinkat", 1), 1, |desk| {
        desk.ask(3, 0, 1);
        assert_eq!(desk.ask(3, 0, 1), 1, "it holds the lock although it looks for files");
        desk.invalidate(3).unwrap();
    });
    // The first one is that of the test's own world.
    beside_one_that_stands_still(Operation::Invalidate, ("flock", 2), 1, nothing_is_published);
}

#[test]
fn nobody_waits_for_a_process_that_was_stopped_while_it_pushes() {
    // The first two are those of its half-written files and of the note.
    beside_one_that_stands_still(Operation::Push, ("flock", 3), 0, |desk| {
        let took = timed(|| {
            let error = desk.try_to_push(Rows::Own).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
            assert!(error.to_string().contains("was held by another process for 10s"), "{error}");
        });
        eprintln!("a stopped push: Busy after {took:?}");
        desk.ask(3, 0, 1);
    });
}

#[test]
fn nobody_waits_for_a_process_that_was_stopped_while_it_folds() {
    beside_one_that_stands_still(Operation::Fold, ("flock", 1), 1, |desk| {
        desk.ask(3, 0, 1);
        let took = timed(|| assert_eq!(desk.store.manifest().fold().unwrap_err().kind(), ErrorKind::Busy));
        eprintln!("a stopped fold: Busy after {took:?}");
        assert_eq!(desk.ask(3, 0, 1), 1);
    });
}
