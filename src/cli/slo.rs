//! `larder slo`: the service level of every process that uses the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::cache::Cache;
use super::failure::{Exit, Failure};
use super::names::check_view;
use super::page::{Align, Page, Tone};
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::config::SloSettings;
use crate::manifest::MinuteCount;
use crate::model::{Outcome, Timestamp, ViewName};
use crate::slo::{BudgetState, Counts, ErrorBudget, Series, SloReport, WINDOWS, WindowReport, report};

const MINUTE: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "\
Examples:
  larder slo
  larder slo --view technical_features
  larder slo --json | jq .budget.remaining

Exit status 1 when the error budget is exhausted.";

/// Show the service level: hit ratios, burn rates and what is left of the error budget
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only the requests of this view
    #[arg(long, value_name = "NAME", value_parser = ViewName::new)]
    view: Option<ViewName>,
}

/// The facts that `larder slo` shows.
#[derive(Debug, Serialize)]
pub struct SloFacts {
    view: Option<String>,
    objective: f64,
    state: BudgetState,
    budget: ErrorBudget,
    windows: Vec<WindowReport>,
    outcomes: BTreeMap<Outcome, u64>,
}

/// Reads the requests of all processes and compares them with the objective.
///
/// # Errors
/// `NotFound` for no cache or an unknown view; those of the manifest.
pub fn run(options: &Options, session: &Session) -> Result<SloFacts, Failure> {
    let cache = Cache::open(session)?;
    let now = session.now();
    let longest = WINDOWS.iter().map(|window| window.length).max().unwrap_or_default();
    let (minutes, views) =
        cache.read(now, |query| Ok((query.requests_per_minute(now.saturating_sub(longest))?, query.views()?)))?;
    if let Some(view) = &options.view {
        let seen = views.into_iter().map(|version| version.view);
        let known: BTreeSet<_> = seen.chain(minutes.iter().map(|minute| minute.view.clone())).collect();
        check_view(view, &known)?;
    }
    let report = at(now, &minutes, options.view.as_ref(), &session.settings.slo);
    Ok(SloFacts {
        view: options.view.as_ref().map(ToString::to_string),
        objective: report.objective,
        state: report.budget.state,
        budget: report.budget,
        windows: report.windows,
        outcomes: report.outcomes.into_iter().collect(),
    })
}

/// The service level at `now`, from the requests of every minute.
fn at(now: Timestamp, minutes: &[MinuteCount], view: Option<&ViewName>, settings: &SloSettings) -> SloReport {
    let kept = WINDOWS.iter().map(|window| window.length).max().unwrap_or_default() + 2 * MINUTE;
    let mut series = Series::new(MINUTE, kept);
    for minute in minutes.iter().filter(|minute| view.is_none_or(|view| *view == minute.view)) {
        let counts: Counts = [(minute.outcome, minute.count)].into_iter().collect();
        series.add(Timestamp::from_secs(minute.minute.saturating_mul(60)), &counts);
    }
    report(settings.objective, settings.window, |window| series.sum(now, window))
}

impl Report for SloFacts {
    fn write(&self, page: &mut Page) {
        let of = self.view.as_ref().map_or_else(String::new, |view| format!(" of {view}"));
        let window = quantity::rough(Duration::from_secs(self.budget.window_seconds));
        page.field(
            "Objective",
            &format!(
                "at least {} of the requests{of} served from cache, over {window}",
                quantity::percent(self.objective)
            ),
        );
        page.field("State", &self.state_in_words());
        page.field("Budget", &self.budget_in_words());
        if let Some(seconds) = self.budget.exhausted_in_seconds.filter(|seconds| *seconds > 0) {
            let left = quantity::rough(Duration::from_secs(seconds));
            page.field("Exhausted", &format!("in {left} at the burn rate of the last hour"));
        }
        page.gap();
        page.table(
            [
                ("window", Align::Left),
                ("requests", Align::Right),
                ("hits", Align::Right),
                ("hit ratio", Align::Right),
                ("burn rate", Align::Right),
            ],
            self.windows.iter().map(|window| {
                [
                    window.window.to_owned(),
                    quantity::count(window.requests),
                    quantity::count(window.good),
                    quantity::ratio(window.hit_ratio),
                    window.burn_rate.map_or_else(|| "no data".to_owned(), |rate| format!("{rate:.2}")),
                ]
            }),
        );
    }

    fn exit(&self) -> Exit {
        if self.state == BudgetState::Exhausted { Exit::Finding } else { Exit::Good }
    }
}

impl SloFacts {
    fn state_in_words(&self) -> String {
        match self.state {
            BudgetState::NoData => "no data: nothing was requested in that time".to_owned(),
            BudgetState::Ok => format!("{}: the objective is met", Tone::Good.paint("ok")),
            BudgetState::Burning => format!(
                "{}: the objective is met, but at the rate of the last hour the budget does not last",
                Tone::Warning.paint("burning")
            ),
            BudgetState::Exhausted => {
                format!(
                    "{}: the objective is missed; `larder stats --misses` shows where",
                    Tone::Bad.paint("exhausted")
                )
            }
        }
    }

    fn budget_in_words(&self) -> String {
        let budget = &self.budget;
        let Some(left) = budget.remaining else { return "no data".to_owned() };
        let left = match left {
            left if left < 0.0 => format!("overspent by {}", quantity::percent(-left)),
            left => format!("{} left", quantity::percent(left)),
        };
        let spent = quantity::counted(budget.spent, "miss", "misses");
        let requests = quantity::counted(budget.requests, "request", "requests");
        format!("{left}: {spent} in {requests}, allowed are {}", allowed(budget.allowed))
    }
}

/// How many misses are allowed; with a tenth where they are few.
fn allowed(misses: f64) -> String {
    if misses < 100.0 { format!("{misses:.1}") } else { format!("{misses:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(at: i64, view: &str, outcome: Outcome, count: u64) -> MinuteCount {
        MinuteCount { minute: at, view: ViewName::new(view).unwrap(), outcome, count }
    }

    fn ratios(minutes: &[MinuteCount], view: Option<&str>) -> Vec<Option<f64>> {
        let view = view.map(|view| ViewName::new(view).unwrap());
        let report = at(Timestamp::from_secs(100_000 * 60 + 30), minutes, view.as_ref(), &SloSettings::default());
        report.windows.iter().map(|window| window.hit_ratio).collect()
    }

    #[test]
    fn every_window_counts_its_own_minutes() {
        let minutes = [
            minute(100_000 - 2 * 1440, "a", Outcome::Miss, 1),
            minute(100_000 - 45, "a", Outcome::Miss, 1),
            minute(100_000 - 45, "a", Outcome::Stale, 3),
            minute(100_000, "a", Outcome::Hit, 4),
        ];
        let [one, hour, days] = [1.0, 7.0 / 8.0, 7.0 / 9.0].map(Some);
        assert_eq!(ratios(&minutes, None), [one, one, hour, hour, hour, days, days]);
    }

    #[test]
    fn a_window_without_requests_has_no_ratio() {
        let minutes = [minute(100_000 - 120, "a", Outcome::Hit, 1)];
        assert_eq!(ratios(&minutes, None)[..4], [None, None, None, Some(1.0)]);
    }

    #[test]
    fn views_are_told_apart() {
        let minutes = [minute(100_000, "a", Outcome::Hit, 1), minute(100_000, "b", Outcome::Miss, 1)];
        assert_eq!([None, Some("a"), Some("b")].map(|view| ratios(&minutes, view)[0]), [0.5, 1.0, 0.0].map(Some));
    }
}
