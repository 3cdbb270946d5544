//! Whether we are fine, said in words to somebody who has just been woken up.

use std::time::Duration;

use maud::{Markup, html};

use super::upkeep::failing;
use super::{Tone, budget, words};
use crate::inspect::health::{Check, Level};
use crate::inspect::{StatusFacts, Verdict, ViewStatus, quantity};
use crate::model::Timestamp;

/// What a tab of the browser shows.
pub(super) fn title(facts: &StatusFacts) -> String {
    format!("{} · Larder", verdict(facts.verdict).0)
}

/// The first lines of the page.
pub(super) fn headline(facts: &StatusFacts) -> Markup {
    let (words, tone) = match (verdict(facts.verdict), facts.checks.iter().any(|check| check.level == Level::Fail)) {
        ((_, Tone::Good), true) => ("Requests are served, but something has to be done", Tone::Bad),
        ((_, Tone::Plain), true) => ("Something has to be done", Tone::Bad),
        (said, _) => said,
    };
    html! {
        header class=(tone.class()) {
            (name_and_time(facts.now))
            h1 { (words) }
            p {
                @for sentence in sentences(facts) { (words::together(&sentence)) " " }
                (not_passed(&facts.checks))
            }
            @if facts.verdict != Verdict::NoData { (figures(facts)) }
        }
    }
}

pub(super) fn name_and_time(now: Timestamp) -> Markup {
    html! {
        div {
            p.name { "Larder status" }
            p.when { time datetime=(now) { (words::instant(now)) } }
        }
    }
}

/// How many checks did not pass, as a link to them.
pub(super) fn not_passed(checks: &[Check]) -> Markup {
    html! {
        @match failing(checks) {
            0 => {},
            1 => { a href="#checks" { "One check did not pass" } "." },
            more => { a href="#checks" { (more) " checks did not pass" } "." },
        }
    }
}

fn verdict(verdict: Verdict) -> (&'static str, Tone) {
    match verdict {
        Verdict::NoData => ("No requests yet", Tone::Plain),
        Verdict::TooFewRequests => ("Too few requests to judge", Tone::Plain),
        Verdict::Fine => ("We are fine", Tone::Good),
        Verdict::Recovering => ("Fine again, but the error budget is overspent", Tone::Warning),
        Verdict::Slipping => ("Below the objective, the error budget is burning", Tone::Warning),
        Verdict::Overspending => ("Below the objective, and the error budget is overspent", Tone::Bad),
        Verdict::Failing => ("Failing: far too many requests miss the cache", Tone::Bad),
    }
}

fn sentences(facts: &StatusFacts) -> Vec<String> {
    let slo = &facts.slo;
    let window = quantity::rough(Duration::from_secs(slo.budget.window_seconds));
    let objective = quantity::percent(slo.objective);
    let mut sentences = Vec::new();
    if facts.verdict == Verdict::NoData {
        sentences.push(format!(
            "The objective is that at least {objective} of the requests of {window} are served from cache; \
             in the last {window} there were none."
        ));
        return sentences;
    }
    sentences.push(match facts.slo.window("5m").filter(|window| window.requests > 0) {
        Some(now) => format!(
            "Of the last five minutes' {} {} came from cache; at least {objective} should.",
            quantity::counted(now.requests, "request", "requests"),
            quantity::ratio(now.hit_ratio),
        ),
        None => format!(
            "There were no requests in the last five minutes; of any at least {objective} should come from cache."
        ),
    });
    sentences.push(budget_in_words(facts, &window));
    sentences.extend(where_to_look(facts));
    sentences
}

fn budget_in_words(facts: &StatusFacts, window: &str) -> String {
    let mut sentence = format!("Error budget of {window}: {}", facts.slo.summary);
    if let Some(seconds) = facts.slo.budget.exhausted_in_seconds.filter(|seconds| *seconds > 0) {
        sentence +=
            &format!(" and, burning as in the last hour, gone in {}", quantity::rough(Duration::from_secs(seconds)));
    }
    sentence + "."
}

/// The view that spends most of the budget, where there is something to mend.
fn where_to_look(facts: &StatusFacts) -> Option<String> {
    let is_well = matches!(facts.verdict, Verdict::Fine | Verdict::TooFewRequests);
    let worst = facts.views.first().filter(|view| view.bad() > 0 && !is_well)?;
    let all: u64 = facts.views.iter().map(ViewStatus::bad).sum();
    let share = words::share(worst.bad(), all);
    let reason = worst
        .reasons
        .first()
        .map_or_else(String::new, |(reason, _)| format!(", mostly of blocks that were {}", words::reason(*reason)));
    Some(format!("Look at {} first: {share} of the last 24 hours' misses are its own{reason}.", worst.view))
}

/// What everybody looks for first, large.
fn figures(facts: &StatusFacts) -> Markup {
    let ratio = |window: &str| {
        let ratio = facts.slo.ratio(window);
        (budget::ratio(ratio), budget::ratio_tone(ratio, facts.slo.objective))
    };
    let (name, left) = budget::left(&facts.slo);
    let figures = [
        ("Hit ratio, 5 min", ratio("5m")),
        ("Hit ratio, 1 h", ratio("1h")),
        ("Hit ratio, 24 h", ratio("1d")),
        (name, (budget::ratio(left), budget::left_tone(&facts.slo))),
    ];
    html! {
        dl {
            @for (name, (value, tone)) in figures {
                div {
                    dt { (name) }
                    dd class=(tone.class()) { (value) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{empty, facts, one_request, overspent};
    use super::*;

    fn text(facts: &StatusFacts) -> String {
        sentences(facts).join(" ")
    }

    #[test]
    fn the_headline_says_where_to_look_when_something_is_wrong() {
        let facts = overspent();
        assert_eq!(title(&facts), "Failing: far too many requests miss the cache · Larder");
        assert!(text(&facts).contains("Look at view_0 first: "), "{}", text(&facts));
    }

    #[test]
    fn one_request_is_one_request() {
        assert!(text(&one_request()).starts_with("Of the last five minutes' 1 request 0 % came from cache"));
    }

    #[test]
    fn few_requests_are_called_too_few_and_nobody_is_sent_anywhere() {
        let facts = one_request();
        assert_eq!(title(&facts), "Too few requests to judge · Larder");
        assert!(text(&facts).ends_with("Error budget of 30 days: too few requests to judge: 1 of 100."));
    }

    #[test]
    fn a_good_night_has_nothing_to_look_at() {
        let facts = facts(3);
        assert_eq!(verdict(facts.verdict), ("We are fine", Tone::Good));
        assert!(!text(&facts).contains("Look at"), "{}", text(&facts));
        assert!(text(&empty()).contains("there were none"));
    }
}
