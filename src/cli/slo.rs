//! `larder slo`: the service level of every process that uses the cache.

use std::time::Duration;

use clap::Args;

use super::cache::Cache;
use super::failure::{Exit, Failure};
use super::names::check_view;
use super::page::{Align, Page, Tone};
use super::quantity;
use super::report::Report;
use super::session::Session;
use crate::inspect::{Requests, SloFacts};
use crate::model::ViewName;
use crate::slo::BudgetState;

const EXAMPLES: &str = "\
Examples:
  larder slo
  larder slo --view technical_features
  larder slo --json | jq .budget.remaining

Exit status 1 when the error budget is exhausted; fewer than 100 requests are too few to judge.";

/// Show the service level: hit ratios, burn rates and what is left of the error budget
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Only the requests of this view
    #[arg(long, value_name = "NAME", value_parser = ViewName::new)]
    view: Option<ViewName>,
}

/// Reads the requests of all processes and compares them with the objective.
///
/// # Errors
/// `NotFound` for no cache or an unknown view; those of the manifest.
pub fn run(options: &Options, session: &Session) -> Result<SloFacts, Failure> {
    let cache = Cache::open(session)?;
    let now = session.now();
    let requests = cache.read(now, |query| Requests::read(query, options.view.as_ref(), now))?;
    if let Some(view) = &options.view {
        check_view(view, &requests.views)?;
    }
    Ok(SloFacts::new(&requests, &session.settings.slo, now))
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

/// The state and the budget as sentences.
trait InWords {
    fn state_in_words(&self) -> String;
    fn budget_in_words(&self) -> String;
}

impl InWords for SloFacts {
    fn state_in_words(&self) -> String {
        match self.state {
            BudgetState::NoData => "no data: nothing was requested in that time".to_owned(),
            BudgetState::TooFewRequests => self.summary.clone(),
            BudgetState::Ok => format!("{}: the objective is met", Tone::Good.paint("ok")),
            BudgetState::Burning => format!(
                "{}: the objective is met, but at the rate of the last hour the budget does not last",
                Tone::Warning.paint("burning")
            ),
            BudgetState::Exhausted => {
                format!(
                    "{}: the objective is missed; `larder explain BudgetExhausted` says why",
                    Tone::Bad.paint("exhausted")
                )
            }
        }
    }

    fn budget_in_words(&self) -> String {
        let budget = &self.budget;
        let spent = quantity::counted(budget.spent, "miss", "misses");
        let requests = quantity::counted(budget.requests, "request", "requests");
        match self.state {
            BudgetState::NoData => "no data".to_owned(),
            BudgetState::TooFewRequests => format!("{spent} in {requests}"),
            _ => format!("{}: {spent} in {requests}, allowed are {}", self.summary, allowed(budget.allowed)),
        }
    }
}

/// How many misses are allowed; with a tenth where they are few.
fn allowed(misses: f64) -> String {
    if misses < 100.0 { format!("{misses:.1}") } else { format!("{misses:.0}") }
}
