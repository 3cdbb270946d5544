//! Game day: faults in a running service, watched by a real Prometheus and told by a real Alertmanager.
//!
//! Every scenario begins healthy. Then comes its fault, until exactly the expected alerts fire and have been delivered to
//! the right receivers; then the fix, which is the block of the runbook that the alert links to; then all of it ends.
//!
//! | real | simulated |
//! |---|---|
//! | the service: a process with `FeatureStore` and `larder::server`, values checked | what it computes from |
//! | the `larder` program: serve, clean, invalidate, repair | systemd, see `units` |
//! | Prometheus, Alertmanager, rules and routes as shipped | time: durations are made short, see `hurry` |
//! | full and read-only disks, `SIGKILL`, `SIGSTOP`, damaged files, DuckDB held by a stranger | the receivers |

mod day;
mod faults;
pub mod http;
pub mod hurry;
pub mod service;
pub mod stack;
pub mod units;
mod webhook;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use stack::Programs;

/// Stacks at a time: what two cores keep up with.
const AT_A_TIME: usize = 6;

/// Runs every scenario, or those whose name has the variable `GAMEDAY` in it.
#[test]
#[ignore = "wants both cores for two minutes: cargo test --release --all-features --test it -- --ignored gameday::every"]
fn every_fault_is_told_to_the_right_people_and_ends_with_the_fix_of_the_runbook() {
    let Some(programs) = Programs::find() else { return };
    let wanted = std::env::var("GAMEDAY").unwrap_or_default();
    let scenarios: VecDeque<_> = faults::SCENARIOS.iter().filter(|(name, _)| name.contains(&wanted)).collect();
    assert!(!scenarios.is_empty(), "no scenario has {wanted:?} in its name");
    let (waiting, failed) = (Mutex::new(scenarios), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((name, scenario)) = { waiting.lock().unwrap().pop_front() } {
                    let began = Instant::now();
                    let done = std::panic::catch_unwind(AssertUnwindSafe(|| scenario(&programs)));
                    let took = Duration::from_secs(began.elapsed().as_secs());
                    println!("{} after {took:?}: {name}", if done.is_ok() { "ok" } else { "FAILED" });
                    if let Err(panic) = done {
                        let text = panic.downcast_ref::<String>().map(String::as_str);
                        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
                        failed.lock().unwrap().push(format!("{name}: {text}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}
