//! The requests of the last day by outcome.

use maud::{Markup, html};

use super::chart::{Chart, Words, round_numbers};
use super::times::{self, seconds};
use super::{Tone, words};
use crate::inspect::{Bin, StatusFacts, quantity};
use crate::model::Outcome;
use crate::slo::Counts;

/// From the bottom up: what spends budget stands on the ground, where it can be compared.
const STACK: [Outcome; 7] = [
    Outcome::Error,
    Outcome::Fallback,
    Outcome::Miss,
    Outcome::Partial,
    Outcome::Coalesced,
    Outcome::Stale,
    Outcome::Hit,
];

/// Two charts over one day: how many of the requests hit, and how many there were of each outcome.
pub(super) fn requests(facts: &StatusFacts) -> Markup {
    let mut sum = Counts::default();
    facts.day.iter().for_each(|bin| sum.merge(&bin.counts));
    html! {
        section aria-labelledby="requests" {
            h2 id="requests" { "Requests of the last 24 hours" }
            @if sum.is_empty() {
                p.empty { "No requests in the last 24 hours." }
            } @else {
                figure {
                    figcaption { "Hit ratio per quarter of an hour"
                        span.key { span.swatch.ideal {} "objective " (quantity::percent(facts.slo.objective)) }
                    }
                    (ratio_chart(facts))
                }
                figure {
                    figcaption { "Requests per quarter of an hour, what spends the budget at the bottom" }
                    (legend(&sum))
                    (stack_chart(facts, &sum))
                    (by_hour(&facts.day))
                }
            }
        }
    }
}

fn ratio_chart(facts: &StatusFacts) -> Markup {
    let bins = &facts.day;
    let ratios = || bins.iter().filter_map(|bin| bin.counts.ratio());
    let lowest = ratios().fold(facts.slo.objective, f64::min);
    let low = floor(lowest);
    let (start, end) = ends(bins);
    let rows = round_numbers(&(low..1.0), 4).into_iter().map(|at| (at, words::axis_percent(at)));
    let objective = vec![(start, facts.slo.objective), (end, facts.slo.objective)];
    let mut chart = Chart::new(start..end, low..1.0, 96).rows(rows).line("ideal", objective);
    // Quarters without requests have no ratio: the line is interrupted there.
    for run in bins.chunk_by(|a, b| a.counts.is_empty() == b.counts.is_empty()) {
        let steps: Vec<_> = run
            .iter()
            .filter_map(|bin| bin.counts.ratio().map(|ratio| (bin, ratio)))
            .flat_map(|(bin, ratio)| [(seconds(bin.start), ratio), (seconds(bin.end()), ratio)])
            .collect();
        if !steps.is_empty() {
            chart = chart.line("ratio", steps);
        }
    }
    let description = format!("The lowest quarter had {}.", quantity::percent(ratios().fold(1.0, f64::min)));
    chart.draw(&Words { id: "day-ratio", title: "Hit ratio of the last 24 hours", description: &description })
}

/// Room below the lowest ratio, down to a round number.
fn floor(lowest: f64) -> f64 {
    let step = if lowest > 0.9 { 0.02 } else { 0.1 };
    (((lowest - step / 4.0) / step).floor() * step).clamp(0.0, 0.98)
}

#[expect(clippy::cast_precision_loss, reason = "the height of a chart")]
fn stack_chart(facts: &StatusFacts, sum: &Counts) -> Markup {
    let bins = &facts.day;
    let most = bins.iter().map(|bin| bin.counts.total()).max().unwrap_or(0) as f64;
    let (start, end) = ends(bins);
    let height = 0.0..most.max(1.0) * 1.04;
    let rows = round_numbers(&height, 5).into_iter().map(|at| (at, words::short(at)));
    let mut chart = Chart::new(start..end, height.clone(), 170).rows(rows);
    let mut ground = vec![0u64; bins.len()];
    for outcome in STACK.into_iter().filter(|outcome| sum.get(*outcome) > 0) {
        let top: Vec<u64> = ground.iter().zip(bins).map(|(below, bin)| below + bin.counts.get(outcome)).collect();
        chart = chart.area(outcome.as_str(), band(bins, &ground, &top));
        ground = top;
    }
    let parts: Vec<_> =
        sum.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{} {name}", quantity::count(n))).collect();
    let description = format!("{} in all: {}.", quantity::count(sum.total()), parts.join(", "));
    let words =
        Words { id: "day-requests", title: "Requests of the last 24 hours by outcome", description: &description };
    let last = bins.last().map_or(facts.now, Bin::end);
    let first = bins.first().map_or(facts.now, |bin| bin.start);
    chart.times(times::labels(first, last)).draw(&words)
}

/// What lies between two heights, in steps.
#[expect(clippy::cast_precision_loss, reason = "the height of a chart")]
fn band(bins: &[Bin], ground: &[u64], top: &[u64]) -> Vec<(f64, f64)> {
    let forth =
        bins.iter().zip(top).flat_map(|(bin, y)| [(seconds(bin.start), *y as f64), (seconds(bin.end()), *y as f64)]);
    let back = bins
        .iter()
        .zip(ground)
        .rev()
        .flat_map(|(bin, y)| [(seconds(bin.end()), *y as f64), (seconds(bin.start), *y as f64)]);
    forth.chain(back).collect()
}

fn ends(bins: &[Bin]) -> (f64, f64) {
    let start = bins.first().map_or(0.0, |bin| seconds(bin.start));
    let end = bins.last().map_or(0.0, |bin| seconds(bin.end()));
    (start, end.max(start + 1.0))
}

fn legend(sum: &Counts) -> Markup {
    html! {
        ul.legend {
            @for (outcome, count) in sum.iter().filter(|(_, count)| *count > 0) {
                li {
                    span class={ "swatch " (outcome.as_str()) } {}
                    (outcome.as_str()) " " b { (quantity::count(count)) } " "
                    span.muted { (words::share(count, sum.total())) }
                }
            }
        }
    }
}

/// The same as numbers, for whoever wants to know when it began.
fn by_hour(bins: &[Bin]) -> Markup {
    let hour = |bin: &Bin| bin.start.as_ns().div_euclid(3_600_000_000_000);
    let hours: Vec<_> = bins
        .chunk_by(|a, b| hour(a) == hour(b))
        .filter_map(|bins| {
            let mut sum = Counts::default();
            bins.iter().for_each(|bin| sum.merge(&bin.counts));
            bins.first().map(|first| (first.start, sum))
        })
        .collect();
    let spending = || Outcome::ALL.into_iter().filter(|outcome| !outcome.is_good());
    html! {
        details {
            summary { "The same hour by hour" }
            div.scroll tabindex="0" role="region" aria-label="Requests hour by hour" {
                table.figures {
                    thead {
                        tr {
                            th scope="col" { "Hour" }
                            th.number scope="col" { "Requests" }
                            th.number scope="col" { "Hit ratio" }
                            @for outcome in spending() { th.number scope="col" { (outcome.as_str()) } }
                        }
                    }
                    tbody {
                        @for (start, counts) in hours.iter().rev() {
                            tr {
                                th scope="row" { (start.to_utc().format("%-d %b %H:%M").to_string()) }
                                td.number { (quantity::count(counts.total())) }
                                td.number { (counts.ratio().map_or_else(|| "–".to_owned(), quantity::percent)) }
                                @for outcome in spending() { (zero_or_count(counts.get(outcome))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn zero_or_count(count: u64) -> Markup {
    let tone = if count == 0 { "muted" } else { Tone::Plain.class() };
    html! { td.number.(tone) { (quantity::count(count)) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_place_in_the_stack_and_the_good_ones_are_on_top() {
        let mut all = STACK;
        all.sort();
        assert_eq!(all, Outcome::ALL);
        assert!(STACK.map(Outcome::is_good).is_sorted());
    }

    #[test]
    fn the_axis_of_ratios_begins_at_a_round_number_below_the_lowest() {
        for (lowest, expected) in [(0.95, 0.94), (0.999, 0.98), (0.31, 0.2), (0.0, 0.0), (1.0, 0.98)] {
            assert!((floor(lowest) - expected).abs() < 1e-9, "{lowest}: {}", floor(lowest));
        }
    }
}
