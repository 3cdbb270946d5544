//! The disk, what was invalidated, and the checks.

use maud::{Markup, html};

use super::Tone;
use super::chart::bar;
use super::views::name;
use super::words::{ago, foreign, instant, part, share, together};
use crate::inspect::health::{Check, Level};
use crate::inspect::limits::free_wanted;
use crate::inspect::{RUNBOOK, StatusFacts, quantity};
use crate::manifest::Invalidation;
use crate::model::Timestamp;

/// How full the disk is, as two bars.
pub(super) fn disk(facts: &StatusFacts) -> Markup {
    let disk = &facts.disk;
    let room = disk.room();
    let used_tone = match disk.bytes {
        bytes if bytes > room => Tone::Bad,
        bytes if bytes > disk.clean_at => Tone::Warning,
        _ => Tone::Good,
    };
    let (limit, size) = (quantity::bytes(disk.limit), quantity::bytes(room));
    let (limited, clean_at, mark) = if room < disk.limit {
        let limited = format!("the {size} that the disk has room for, less than the limit of {limit}");
        (limited, room, "Cleaning evicts where the disk has no more than its reserve left.".to_owned())
    } else {
        let mark = format!("Cleaning evicts from the mark on, {}.", quantity::bytes(disk.clean_at));
        (format!("the limit of {limit}"), disk.clean_at, mark)
    };
    let blocks = format!(
        "{} in {}, {} of {limited}",
        quantity::bytes(disk.bytes),
        quantity::counted(disk.blocks, "block", "blocks"),
        share(disk.bytes, room),
    );
    let free_tone = match disk.free {
        free if free < disk.reserve => Tone::Bad,
        free if free < free_wanted(disk.reserve) => Tone::Warning,
        _ => Tone::Good,
    };
    // The reserve stays visible however much is free.
    let scale = disk.free.max(disk.reserve.saturating_mul(2)).max(1);
    let free = format!("{} free, {} are reserved", quantity::bytes(disk.free), quantity::bytes(disk.reserve));
    html! {
        section aria-labelledby="disk" {
            h2 id="disk" { "Disk" }
            div.columns.even {
                div {
                    p { b class=(used_tone.class()) { "Blocks " } (blocks) }
                    (bar(&blocks, used_tone.class(), part(disk.bytes, room), part(clean_at, room)))
                    p.note { (mark) }
                }
                div {
                    p { b class=(free_tone.class()) { "Free " } (free) }
                    (bar(&free, free_tone.class(), part(disk.free, scale), part(disk.reserve, scale)))
                    p.note { "Below the mark nothing is published and cleaning evicts." }
                }
            }
        }
    }
}

/// The latest invalidations.
pub(super) fn invalidations(facts: &StatusFacts) -> Markup {
    html! {
        section aria-labelledby="invalidations" {
            h2 id="invalidations" { "Recent invalidations" }
            @if facts.invalidations.is_empty() {
                p.empty { "Nothing was invalidated yet." }
            } @else {
                table.cards.log role="table" {
                    thead role="rowgroup" {
                        tr role="row" {
                            @for title in ["When", "View", "Entity", "Range", "Cause"] {
                                th role="columnheader" scope="col" { (title) }
                            }
                            th.number role="columnheader" scope="col" { "Blocks" }
                        }
                    }
                    tbody role="rowgroup" {
                        @for invalidation in &facts.invalidations { (invalidated(invalidation, facts.now)) }
                    }
                }
            }
        }
    }
}

fn invalidated(invalidation: &Invalidation, now: Timestamp) -> Markup {
    let at = invalidation.at;
    html! {
        tr role="row" {
            th.time role="rowheader" scope="row" { time datetime=(at) title=(instant(at)) { (ago(now, at)) } }
            td role="cell" data-label="View" { (name(&invalidation.view)) }
            td.wide role="cell" data-label="Entity" {
                @match &invalidation.entity {
                    Some(entity) => bdi { (foreign(&entity.to_string())) },
                    None => span.muted { "all" },
                }
            }
            td role="cell" data-label="Range" { (range(invalidation)) }
            td.wide role="cell" data-label="Cause" { bdi { (foreign(&invalidation.cause)) } }
            td.number role="cell" data-label="Blocks" { (quantity::count(invalidation.blocks)) }
        }
    }
}

/// An open end is written as the outermost time; the manifest keeps it within some nanoseconds.
fn range(invalidation: &Invalidation) -> String {
    let second = 1_000_000_000;
    let start = Some(invalidation.start).filter(|at| at.as_ns() > i64::MIN + second).map(quantity::time);
    let end = Some(invalidation.end).filter(|at| at.as_ns() < i64::MAX - second).map(quantity::time);
    match (start, end) {
        (None, None) => "all".to_owned(),
        (Some(start), None) => format!("from {start}"),
        (None, Some(end)) => format!("until {end}"),
        (Some(start), Some(end)) => format!("{start} to {end}"),
    }
}

/// The daily checks, the conditions of the alerts among them.
pub(super) fn checks(checks: &[Check]) -> Markup {
    html! {
        section aria-labelledby="checks" {
            h2 id="checks" {
                "Checks "
                span.muted { (quantity::count(failing(checks))) " of " (quantity::count(checks.len() as u64)) " did not pass" }
            }
            ul.alerts {
                @for check in worst_first(checks) { (line(check)) }
            }
            p.note {
                "What " code { "larder doctor" } " says. A check with a link has the condition of an "
                "alert; Prometheus decides how long it has to hold. " code { "larder explain NAME" }
                " says which views, entities and changes spent the budget."
            }
        }
    }
}

/// How many checks did not pass.
pub(super) fn failing(checks: &[Check]) -> u64 {
    checks.iter().filter(|check| check.level > Level::Pass).count() as u64
}

fn worst_first(checks: &[Check]) -> Vec<&Check> {
    let mut checks: Vec<_> = checks.iter().collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.level));
    checks
}

fn line(check: &Check) -> Markup {
    let (word, tone) = match check.level {
        Level::Pass => ("pass", Tone::Good),
        Level::Warn => ("look", Tone::Warning),
        Level::Fail => ("act now", Tone::Bad),
    };
    html! {
        li {
            span.pill.(tone.class()) { (word) }
            @match check.alert {
                Some(alert) => a href={ (RUNBOOK) "#" (alert.to_lowercase()) } rel="noreferrer" { (check.name) },
                None => span { (check.name) },
            }
            span {
                (together(&foreign(&check.in_words())))
                @if let Some(fix) = &check.fix {
                    " — " (foreign(&fix.advice))
                    @if let Some(command) = &fix.command { ": " code { "larder " (foreign(command)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{empty, facts};
    use super::*;

    #[test]
    fn an_open_range_is_not_a_year_of_the_seventeenth_century() {
        let mut invalidation = facts(1).invalidations[0].clone();
        let of = |start, end, invalidation: &mut Invalidation| {
            (invalidation.start, invalidation.end) = (start, end);
            range(invalidation)
        };
        let day = "2024-03-01".parse().unwrap();
        // As DuckDB gives them back.
        let (first, last) = (Timestamp::from_ns(i64::MIN + 2), Timestamp::from_ns(i64::MAX - 1));
        assert_eq!(of(first, last, &mut invalidation), "all");
        assert_eq!(of(day, Timestamp::MAX, &mut invalidation), "from 2024-03-01");
        assert_eq!(of(Timestamp::MIN, day, &mut invalidation), "until 2024-03-01");
    }

    #[test]
    fn a_check_that_is_an_alert_links_to_its_section_of_the_runbook() {
        let page = checks(&facts(1).checks).into_string();
        assert!(page.contains("docs/runbook.md#featurestorehitratiolow\""), "{page}");
        let [bad, good] = [page.find("act now"), page.find(">pass<")];
        assert!(bad.is_some() && bad < good, "the worst comes first: {page}");
    }

    #[test]
    fn blocks_are_held_against_what_limits_them() {
        let mut facts = empty();
        let gb = 1_000_000_000;
        (facts.disk.bytes, facts.disk.limit, facts.disk.reserve) = (2 * gb, 50 * gb, gb);
        facts.disk.free = 9 * gb;
        let page = disk(&facts).into_string();
        assert!(page.contains("of the 10.0 GB that the disk has room for, less than the limit of 50.0 GB"), "{page}");
        facts.disk.free = 90 * gb;
        assert!(disk(&facts).into_string().contains("4.0\u{a0}% of the limit of 50.0 GB"));
        facts.disk.bytes = 1000;
        assert!(disk(&facts).into_string().contains("&lt;\u{a0}0.1\u{a0}%"), "a block is not nothing");
    }

    #[test]
    fn an_empty_disk_has_bars_too() {
        let mut facts = empty();
        facts.disk.limit = 0;
        let page = disk(&facts).into_string();
        assert!(page.contains("0 B in 0 blocks") && !page.contains("NaN"), "{page}");
    }
}
