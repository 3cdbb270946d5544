//! One line per view; on a phone, one card.

use maud::{Markup, html};

use super::Tone;
use super::budget::{self, ratio_tone};
use super::words::{self, ago, foreign, instant, share};
use crate::inspect::{StatusFacts, ViewStatus, quantity};
use crate::model::{Timestamp, ViewName};

/// The table of views.
pub(super) fn views(facts: &StatusFacts) -> Markup {
    let all: u64 = facts.views.iter().map(ViewStatus::bad).sum();
    html! {
        section aria-labelledby="views" {
            h2 id="views" { "Views " span.muted { (quantity::count(facts.views.len() as u64)) } }
            @if facts.views.is_empty() {
                p.empty { "No view has blocks or was asked for yet." }
            } @else {
                table.cards role="table" {
                    caption { "Requests and misses of the last 24 hours; what spends most of the budget comes first" }
                    thead role="rowgroup" {
                        tr role="row" {
                            th role="columnheader" scope="col" { "View" }
                            th.number role="columnheader" scope="col" { "Hit ratio" }
                            th.number role="columnheader" scope="col" { "Requests" }
                            th.number role="columnheader" scope="col" { "Misses" }
                            th.number role="columnheader" scope="col" { "Blocks" }
                            th.number role="columnheader" scope="col" { "Size" }
                            th role="columnheader" scope="col" { "Newest" }
                            th role="columnheader" scope="col" { "Why blocks were computed" }
                        }
                    }
                    tbody role="rowgroup" {
                        @for view in &facts.views { (row(view, all, facts.slo.objective, facts.now)) }
                    }
                }
            }
        }
    }
}

fn row(view: &ViewStatus, all_bad: u64, objective: f64, now: Timestamp) -> Markup {
    let ratio = view.counts.ratio();
    let tone = ratio_tone(ratio, objective);
    let tone = if tone == Tone::Good { Tone::Plain } else { tone };
    html! {
        tr role="row" {
            th role="rowheader" scope="row" { (name(&view.view)) }
            td.number.(tone.class()) role="cell" data-label="Hit ratio" {
                (budget::ratio(ratio))
            }
            td.number role="cell" data-label="Requests" { (quantity::count(view.counts.total())) }
            td.number role="cell" data-label="Misses" {
                (quantity::count(view.bad()))
                @if view.bad() > 0 { " " span.muted { (share(view.bad(), all_bad)) } }
            }
            td.number role="cell" data-label="Blocks" { (quantity::count(view.blocks)) }
            td.number role="cell" data-label="Size" { (quantity::bytes(view.bytes)) }
            td.time role="cell" data-label="Newest" { (newest(view, now)) }
            td.wide role="cell" data-label="Why computed" { (why(view)) }
        }
    }
}

/// A name that may be broken after its underscores.
pub(super) fn name(view: &ViewName) -> Markup {
    html! {
        @for part in view.as_str().split_inclusive('_') { (part) wbr; }
    }
}

fn newest(view: &ViewStatus, now: Timestamp) -> Markup {
    html! {
        @match view.newest {
            Some(at) => time datetime=(at) title=(instant(at)) { (ago(now, at)) },
            None => span.muted { "no rows" },
        }
    }
}

fn why(view: &ViewStatus) -> Markup {
    html! {
        @if view.reasons.is_empty() {
            span.muted { "none computed" }
        }
        @for (at, (reason, blocks)) in view.reasons.iter().enumerate() {
            @if at > 0 { ", " }
            (quantity::count(*blocks)) " " (words::reason(*reason))
        }
        @if !view.worst.is_empty() {
            ul.worst {
                @for miss in &view.worst {
                    li {
                        span.muted { (quantity::count(miss.blocks)) " " (words::reason(miss.reason)) } " "
                        bdi { (foreign(&miss.entity.to_string())) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::facts;
    use super::*;

    #[test]
    fn a_view_has_a_row_with_its_figures() {
        let facts = facts(1);
        let page = views(&facts).into_string();
        assert!(page.contains("view_<wbr>0<wbr></th>"), "{page}");
        assert!(page.contains(&quantity::count(facts.views[0].counts.total())));
        assert!(page.contains("40 cached up to an earlier time, 20 not in the cache"), "{page}");
    }

    #[test]
    fn a_view_from_a_clock_that_was_ahead_lies_ahead() {
        let mut facts = facts(1);
        facts.views[0].newest = Some(facts.now.saturating_add(std::time::Duration::from_secs(7200)));
        assert!(views(&facts).into_string().contains(">in 2 h<"));
        facts.views[0].newest = None;
        assert!(views(&facts).into_string().contains("no rows"));
    }
}
