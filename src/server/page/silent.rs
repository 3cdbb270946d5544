//! The headline while the manifest does not answer: why there are no figures, and what to do.

use maud::{Markup, html};

use super::Tone;
use super::headline::{name_and_time, not_passed};
use crate::inspect::health::ManifestState;
use crate::inspect::{RUNBOOK, SilentFacts};

/// What a tab of the browser shows.
pub(super) const TITLE: &str = "No figures · Larder";

pub(super) fn headline(facts: &SilentFacts) -> Markup {
    let (why, what_to_do, section) = match facts.manifest {
        ManifestState::Held(_) => (
            "Another program has the manifest open, from which the figures come.",
            "Close it there, as a shell of DuckDB or a notebook; how to find it and end it is in",
            "featurestorefoldlagging",
        ),
        ManifestState::Damaged(_) => (
            "The manifest, from which the figures come, was found damaged. It was set aside and is begun anew.",
            "Check the disk, and have it made from the block files; how is in",
            "manifest-trouble",
        ),
        _ => (
            "The manifest, from which the figures come, cannot be read.",
            "Do what the check below says; the causes are in",
            "featurestorefoldlagging",
        ),
    };
    html! {
        header.(Tone::Warning.class()) {
            (name_and_time(facts.now))
            h1 { "Requests go on being answered, but the figures cannot be shown" }
            p { (why) " No request waits for it, and what requests turn out to be is written to journals meanwhile." }
            p { (what_to_do) " " a href={ (RUNBOOK) "#" (section) } rel="noreferrer" { "the runbook" } "." }
            p { (not_passed(&facts.checks)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::health::{Check, Level, Period};
    use crate::server::page::render_silent;

    #[test]
    fn whatever_is_wrong_with_the_manifest_the_page_says_so_and_leads_to_the_runbook() {
        let check = Check {
            name: "Manifest",
            period: Period::Daily,
            level: Level::Warn,
            figure: "open in <another> program".to_owned(),
            limit: "it answers".to_owned(),
            fix: None,
            alert: None,
        };
        for (manifest, why, section) in [
            (ManifestState::Held(String::new()), "Another program has", "#featurestorefoldlagging\""),
            (ManifestState::Damaged(String::new()), "was found damaged", "#manifest-trouble\""),
            (ManifestState::Unreadable(String::new()), "cannot be read", "#featurestorefoldlagging\""),
        ] {
            let now = "2026-11-21T03:12:45Z".parse().unwrap();
            let facts = SilentFacts { version: "0.0.0", now, manifest, checks: vec![check.clone()] };
            let page = render_silent(&facts, "/");
            for part in [why, section, "go on being answered", "open in &lt;another&gt; program", "1 of 1 did not pass"]
            {
                assert!(page.contains(part), "{part} in {page}");
            }
        }
    }
}
