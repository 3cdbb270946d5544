//! The manifest and the journals that are folded into it.

use std::time::Duration;

use super::{Check, HealthFacts, KnownFacts, Level, ManifestState, unless};
use crate::inspect::limits::{UNFOLDED_BYTES, UNFOLDED_FOR};
use crate::inspect::quantity::{bytes, counted, rough};

pub(super) fn checks(facts: &HealthFacts) -> Vec<Check> {
    let mut checks = vec![state(facts)];
    if let Some(known) = &facts.known {
        checks.push(folding(facts, known));
        checks.push(journals(known));
    }
    checks
}

fn state(facts: &HealthFacts) -> Check {
    let check = |level, figure: &str| Check::new("Manifest", level, figure, "it answers");
    match &facts.manifest {
        ManifestState::Sound => check(Level::Pass, "it answers"),
        ManifestState::New => check(Level::Pass, "it is new, and was made from the block files"),
        ManifestState::Damaged(aside) => check(Level::Fail, &format!("it was damaged: {aside}"))
            .command("history is lost, blocks are not: check the disk, and make it whole", "repair"),
        ManifestState::Held(why) => check(Level::Warn, why)
            .fix("end the program that holds it; services go on, but nothing is folded or cleaned"),
        ManifestState::Unreadable(why) => check(Level::Fail, why).fix("do what it says"),
    }
}

/// What was measured is what waited before these checks folded it.
fn folding(facts: &HealthFacts, known: &KnownFacts) -> Check {
    let journals = &known.journals;
    let waited = journals.oldest.map_or(Duration::ZERO, |oldest| facts.now.since(oldest));
    let late = waited > UNFOLDED_FOR || journals.unfolded > UNFOLDED_BYTES;
    let figure = match journals.unfolded {
        0 => "nothing waited".to_owned(),
        unfolded => format!("{} waited, for {}", bytes(unfolded), rough(waited)),
    };
    let limit = format!("at most {}, for at most {}", bytes(UNFOLDED_BYTES), rough(UNFOLDED_FOR));
    let check = Check::new("Folding", unless(late, Level::Warn), figure, limit).alert("FeatureStoreFoldLagging");
    check.fix("it is folded now; see that a service or larder serve runs with manifest.fold_interval above 0")
}

fn journals(known: &KnownFacts) -> Check {
    let damaged = known.journals.damaged;
    let figure = counted(damaged, "damaged stretch", "damaged stretches");
    let check = Check::new("Journals", unless(damaged > 0, Level::Warn), figure, "none");
    check.command("what they told is lost, of requests for good: check the disk, and make blocks whole", "repair")
}
