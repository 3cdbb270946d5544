//! Ratios, burn rates, and how the error budget went.

use std::time::Duration;

use maud::{Markup, html};

use super::chart::{Chart, Words, round_numbers};
use super::times::{self, seconds};
use super::{Tone, words};
use crate::inspect::limits::PAGE;
use crate::inspect::{BudgetPoint, SloFacts, StatusFacts, quantity};
use crate::model::Timestamp;
use crate::slo::{BudgetState, below};

/// The service level, window by window, beside the budget's burn-down.
pub(super) fn budget(facts: &StatusFacts) -> Markup {
    html! {
        section aria-labelledby="slo" {
            h2 id="slo" { "Service level" }
            div.columns {
                (windows(facts))
                figure { (burn_down(facts)) }
            }
        }
    }
}

fn windows(facts: &StatusFacts) -> Markup {
    html! {
        table.figures {
            caption { "At least " (quantity::percent(facts.slo.objective)) " of the requests from cache" }
            thead {
                tr {
                    th scope="col" { "Window" }
                    th.number scope="col" { "Requests" }
                    th.number scope="col" { "Hit ratio" }
                    th.number scope="col" { "Burn rate" }
                }
            }
            tbody {
                @for window in &facts.slo.windows {
                    tr {
                        th scope="row" { (window.window) }
                        td.number { (quantity::count(window.requests)) }
                        (figure(ratio(window.hit_ratio), ratio_tone(window.hit_ratio, facts.slo.objective)))
                        (figure(burn(window.burn_rate), burn_tone(window.judged_burn_rate())))
                    }
                }
            }
        }
    }
}

/// A cell whose tone is not only a colour: what is wrong is bold too.
fn figure(text: String, tone: Tone) -> Markup {
    html! { td.number.(tone.class()) { (text) } }
}

/// `97.3 %`, and a dash for none.
pub(super) fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), quantity::percent)
}

fn burn(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), words::times)
}

pub(super) fn ratio_tone(ratio: Option<f64>, objective: f64) -> Tone {
    match ratio {
        None => Tone::Plain,
        Some(ratio) if below(ratio, objective) => Tone::Bad,
        Some(_) => Tone::Good,
    }
}

fn burn_tone(rate: Option<f64>) -> Tone {
    match rate {
        Some(rate) if below(PAGE.rate, rate) => Tone::Bad,
        Some(rate) if below(1.0, rate) => Tone::Warning,
        _ => Tone::Plain,
    }
}

/// The name and the size of what is left of the budget or was spent beyond it; none where nobody can tell.
pub(super) fn left(slo: &SloFacts) -> (&'static str, Option<f64>) {
    match (slo.state, slo.budget.remaining) {
        (BudgetState::NoData | BudgetState::TooFewRequests, _) | (_, None) => ("Error budget left", None),
        (BudgetState::Exhausted, Some(left)) => ("Error budget overspent", Some(-left)),
        (BudgetState::Ok | BudgetState::Burning, Some(left)) => ("Error budget left", Some(left.max(0.0))),
    }
}

pub(super) fn left_tone(slo: &SloFacts) -> Tone {
    match (slo.state, left(slo).1) {
        (BudgetState::Exhausted, _) => Tone::Bad,
        (_, None) => Tone::Plain,
        (_, Some(left)) if left < 0.25 => Tone::Warning,
        (_, Some(_)) => Tone::Good,
    }
}

fn burn_down(facts: &StatusFacts) -> Markup {
    let window = quantity::rough(Duration::from_secs(facts.slo.budget.window_seconds));
    let (Some(first), Some(last)) = (facts.burn_down.first(), facts.burn_down.last()) else {
        return html! {
            figcaption { "Error budget of " (window) }
            p.empty { "No requests in the last " (window) ", so there is no budget to spend." }
        };
    };
    let spent = caption(facts);
    if facts.slo.state == BudgetState::TooFewRequests {
        return html! {
            figcaption { "Error budget of " (window) ", " (facts.slo.summary) }
            p.empty { (spent) }
        };
    }
    let words = Words { id: "burn-down", title: &format!("Error budget left over {window}"), description: &spent };
    html! {
        figcaption {
            "Error budget of " (window) ", " strong class=(left_tone(&facts.slo).class()) { (facts.slo.summary) }
            span.key { span.swatch.ideal {} "spent evenly" }
        }
        (chart(&facts.burn_down, first, last).draw(&words))
        p.note { (spent) }
    }
}

fn caption(facts: &StatusFacts) -> String {
    let budget = &facts.slo.budget;
    let mut text = format!(
        "{} of {} missed, {} may.",
        quantity::count(budget.spent),
        quantity::counted(budget.requests, "request", "requests"),
        words::misses(budget.allowed)
    );
    if let Some((day, misses)) = worst_day(&facts.burn_down) {
        let misses = quantity::counted(misses, "miss", "misses");
        text += &format!(" {} had most: {misses}.", day.to_utc().format("%A, %-d %B"));
    }
    words::together(&text)
}

/// The day with most misses, and how many; the points lie on the midnights.
fn worst_day(points: &[BudgetPoint]) -> Option<(Timestamp, u64)> {
    let day_of = |point: &BudgetPoint| (point.at.as_ns() - 1).div_euclid(86_400_000_000_000);
    let mut worst: Option<(i64, u64)> = None;
    let mut before = points.first()?.spent;
    for day in points.chunk_by(|a, b| day_of(a) == day_of(b)) {
        let (Some(first), Some(last)) = (day.first(), day.last()) else { continue };
        let spent = last.spent.saturating_sub(before);
        if spent > worst.map_or(0, |(_, most)| most) {
            worst = Some((day_of(first), spent));
        }
        before = last.spent;
    }
    worst.map(|(day, misses)| (Timestamp::from_secs(day * 86_400), misses))
}

fn chart(points: &[BudgetPoint], first: &BudgetPoint, last: &BudgetPoint) -> Chart {
    let (start, end) = (seconds(first.at), seconds(last.at).max(seconds(first.at) + 1.0));
    let low = last.remaining.min(0.0);
    let line: Vec<_> = points.iter().map(|point| (seconds(point.at), point.remaining)).collect();
    let corners = [(seconds(last.at), 0.0), (start, 0.0)];
    let area: Vec<_> = line.iter().copied().chain(corners).collect();
    let mut chart = Chart::new(start..end, low..1.0, 190).rows(rows(low));
    if low < 0.0 {
        chart = chart.area("overspent", vec![(start, 0.0), (end, 0.0), (end, low), (start, low)]);
    }
    chart
        .area("left", area)
        .line("ideal", vec![(start, 1.0), (end, 0.0)])
        .line("zero", vec![(start, 0.0), (end, 0.0)])
        .line("budget", line)
        .times(times::labels(first.at, last.at))
}

/// Everything and nothing, and round numbers that keep away from them.
fn rows(low: f64) -> Vec<(f64, String)> {
    let range = low..1.0;
    let apart = (1.0 - low) * 0.12;
    let others = round_numbers(&range, 6).into_iter().filter(|at| at.abs() > apart && (at - 1.0).abs() > apart);
    let mut rows: Vec<f64> = others.collect();
    // Far below nothing, everything and nothing are the same height.
    rows.extend(if apart < 0.7 { vec![0.0, 1.0] } else { vec![0.0] });
    rows.into_iter().map(|at| (at, words::axis_percent(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: &str, spent: u64) -> BudgetPoint {
        BudgetPoint { at: at.parse().unwrap(), requests: 1, spent, remaining: 1.0 }
    }

    #[test]
    fn what_is_spent_up_to_midnight_belongs_to_the_day_before() {
        let points = [
            point("2024-03-01T12:00", 0),
            point("2024-03-02", 1),
            point("2024-03-02T12:00", 2),
            point("2024-03-03", 5),
            point("2024-03-03T01:00", 7),
        ];
        let (day, misses) = worst_day(&points).unwrap();
        assert_eq!(day.to_string(), "2024-03-02T00:00:00Z");
        assert_eq!(misses, 4);
        assert_eq!(worst_day(&points[..1]), None);
    }

    #[test]
    fn the_axis_always_has_everything_and_nothing_where_they_are_apart() {
        let texts = |low| rows(low).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        for low in [0.0, -0.3, -1.0, -3.0] {
            assert!(texts(low).contains(&"0 %".to_owned()) && texts(low).contains(&"100 %".to_owned()), "{low}");
        }
        assert!(!texts(-50.0).contains(&"100 %".to_owned()), "{:?}", texts(-50.0));
    }
}
