//! `larder explain`: who spent the error budget, or what else an alert is about.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::definitions;
use super::doctor::{CheckLine, examine, lines};
use super::failure::Failure;
use super::names::nearest_first;
use super::page::{Align, Page, Tone};
use super::report::Report;
use super::session::Session;
use crate::error::{Error, ErrorKind};
use crate::inspect::explain::{CauseFacts, Spending, ago};
use crate::inspect::health::{Check, HealthFacts, Level, ManifestState, checks};
use crate::inspect::{ALERTS, Alert, Severity, Subject, quantity};

const EXAMPLES: &str = "\
Examples:
  larder explain FeatureStoreHitRatioLow
  larder explain HitRatioLow --since 6h
  larder explain FeatureStoreBudgetBurnTicket --json | jq '.spending.causes[0]'
  larder explain

Without a name it lists the alerts.";

/// So many changes are listed before the rest is only counted.
const MOST_CHANGES: usize = 12;

/// Explain an alert: which views, entities, reasons and changes are behind it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The name of the alert, in upper or lower case, with or without FeatureStore before it, or its last words
    alert: Option<String>,
    /// How far back to look, such as 90m, 24h or 7d [default: as far as the alert looks]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
}

/// What is behind an alert, or which alerts there are.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum ExplainFacts {
    /// Without a name.
    Alerts { alerts: Vec<AlertFacts> },
    /// One alert.
    Alert(Box<OneAlert>),
}

/// An alert as it is defined.
#[derive(Debug, Serialize)]
pub struct AlertFacts {
    alert: &'static str,
    severity: Severity,
    summary: &'static str,
    window_seconds: u64,
    runbook: String,
}

/// What is behind one alert.
#[derive(Debug, Serialize)]
pub struct OneAlert {
    #[serde(flatten)]
    alert: AlertFacts,
    objective: f64,
    /// What nobody can say from the cache, and where to look instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    look_at: Option<&'static str>,
    /// Who spent the budget, and what changed; not of monitoring, nor where the manifest does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    spending: Option<Spending>,
    /// What to type for the first cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    typed: Option<String>,
    /// The checks of the alert.
    checks: Vec<CheckLine>,
    /// Others that did not pass.
    others: Vec<CheckLine>,
    #[serde(skip)]
    subject: Subject,
}

/// Finds out.
///
/// # Errors
/// `Invalid` for a name that no alert has; `NotFound` for no cache; for alerts about requests those of the manifest.
pub fn run(options: &Options, session: &Session) -> Result<ExplainFacts, Failure> {
    let Some(name) = &options.alert else {
        return Ok(ExplainFacts::Alerts {
            alerts: ALERTS.iter().map(|alert| described(alert, alert.window)).collect(),
        });
    };
    let alert = Alert::find(name).ok_or_else(|| {
        let names = nearest_first(name, ALERTS.iter().map(Alert::short_name)).join(", ");
        Error::invalid(format!("there is no alert {name}, there is {names}; `larder explain` says what each means"))
    })?;
    let window = options.since.unwrap_or(alert.window);
    let mut one = OneAlert {
        alert: described(alert, window),
        objective: session.settings.slo.objective,
        look_at: None,
        spending: None,
        typed: None,
        checks: Vec::new(),
        others: Vec::new(),
        subject: alert.subject,
    };
    if let Subject::Monitoring(look_at) = alert.subject {
        one.look_at = Some(look_at);
        return Ok(ExplainFacts::Alert(Box::new(one)));
    }
    let (cache, facts) = examine(session)?;
    if facts.known.is_some() {
        // Without definitions that can be read, commands can compute nothing.
        let defined = definitions::applied(session).map(|applied| applied.views().keys().cloned().collect());
        let warmable = defined.unwrap_or_default();
        one.spending = Some(cache.manifest.read(|query| Spending::read(query, window, facts.now, &warmable))?);
    } else if alert.subject == Subject::Requests {
        return Err(silent(&facts).into());
    }
    let first = one.spending.as_ref().and_then(|spending| spending.causes.first());
    one.typed = first.and_then(|cause| Some(session.command(cause.command.as_deref()?)));
    let belongs = |check: &Check| check.alert == Some(alert.name);
    let (mut own, rest): (Vec<Check>, Vec<Check>) = checks(&facts).into_iter().partition(belongs);
    // Whoever reads this has typed that already.
    let this = format!("explain {}", alert.name);
    own.iter_mut().filter(|check| check.command_line() == Some(&this)).for_each(|check| check.fix = None);
    // What the other alerts about requests say follows from the same requests.
    let about_requests =
        |check: &Check| check.alert.and_then(Alert::find).is_some_and(|alert| alert.subject == Subject::Requests);
    let others = rest.into_iter().filter(|check| check.level > Level::Pass && !about_requests(check)).collect();
    one.checks = lines(session, own);
    one.others = lines(session, others);
    Ok(ExplainFacts::Alert(Box::new(one)))
}

fn described(alert: &Alert, window: Duration) -> AlertFacts {
    AlertFacts {
        alert: alert.name,
        severity: alert.severity,
        summary: alert.summary,
        window_seconds: window.as_secs(),
        runbook: alert.runbook(),
    }
}

/// Why the manifest says nothing.
fn silent(facts: &HealthFacts) -> Error {
    match &facts.manifest {
        ManifestState::Held(why) => Error::new(ErrorKind::Busy, why.clone()),
        ManifestState::Unreadable(why) | ManifestState::Damaged(why) => Error::new(ErrorKind::Unavailable, why.clone()),
        ManifestState::Sound | ManifestState::New => Error::new(ErrorKind::Unavailable, "the manifest does not answer"),
    }
}

impl Report for ExplainFacts {
    fn write(&self, page: &mut Page) {
        match self {
            Self::Alerts { alerts } => page.table(
                [("alert", Align::Whole), ("severity", Align::Whole), ("says that", Align::Left)],
                alerts.iter().map(|alert| {
                    [alert.alert.to_owned(), alert.severity.as_str().to_owned(), alert.summary.to_owned()]
                }),
            ),
            Self::Alert(one) => one.write(page),
        }
    }
}

impl OneAlert {
    fn write(&self, page: &mut Page) {
        let (alert, severity) = (self.alert.alert, self.alert.severity.as_str());
        page.field("Alert", &format!("{} ({severity}): {}", Tone::Title.paint(alert), self.alert.summary));
        if let Some(look_at) = self.look_at {
            page.field("Look at", look_at);
        }
        match &self.spending {
            Some(spending) if self.subject == Subject::Requests => self.write_spending(page, spending),
            _ => {}
        }
        page.verbatim(&format!("Runbook    {}", self.alert.runbook));
        if let Some(spending) = &self.spending {
            if self.subject == Subject::Requests {
                write_causes(page, spending);
            }
            write_checks(page, "What is looked at", &self.checks);
            write_changes(page, spending);
        } else {
            write_checks(page, "What is looked at", &self.checks);
        }
        write_checks(page, "Also not as it should be", &self.others);
    }

    fn write_spending(&self, page: &mut Page, spending: &Spending) {
        let window = quantity::rough(Duration::from_secs(self.alert.window_seconds));
        let requests = quantity::counted(spending.requests, "request", "requests");
        let (bad, ratio) = (quantity::count(spending.bad), quantity::ratio(spending.hit_ratio));
        let objective = quantity::percent(self.objective);
        page.field(
            "Window",
            &format!(
                "the last {window}: {requests}, {bad} not served from cache, hit ratio {ratio} (objective {objective})"
            ),
        );
        let Some(first) = spending.causes.first() else {
            page.field("Cause", "none: nothing was missed in that time; look further back with --since");
            return;
        };
        let share = quantity::percent(first.share);
        page.field("Cause", &format!("{}, {share} of the bad requests", Tone::Title.paint(&first.title)));
        page.field("Fix", first.advice);
        if let Some(typed) = &self.typed {
            page.verbatim(&format!("           {typed}"));
        }
    }
}

fn write_causes(page: &mut Page, spending: &Spending) {
    if spending.causes.is_empty() {
        return;
    }
    page.title("What spent the budget");
    page.table(
        [("share", Align::Right), ("cause", Align::Left), ("blocks", Align::Right), ("where", Align::Left)],
        spending.causes.iter().map(|cause| {
            [quantity::percent(cause.share), cause.title.clone(), quantity::count(cause.blocks), place(cause)]
        }),
    );
    if spending.views.len() > 1 {
        page.title("Whose requests these are");
        page.table(
            [("share", Align::Right), ("view", Align::Left), ("requests", Align::Right)],
            spending
                .views
                .iter()
                .map(|view| [quantity::percent(view.share), view.view.clone(), quantity::count(view.bad)]),
        );
    }
}

/// `technical_features: symbol=EURUSD, symbol=USDJPY and 3 more`.
fn place(cause: &CauseFacts) -> String {
    let mut entities: Vec<&str> = cause.entities.iter().map(|share| share.entity.as_str()).collect();
    entities.dedup();
    let views = cause.views.join(", ");
    match (entities.as_slice(), cause.more_entities) {
        ([], _) => views,
        (entities, 0) => format!("{views}: {}", entities.join(", ")),
        (entities, more) => format!("{views}: {} and {} more", entities.join(", "), quantity::count(more)),
    }
}

fn write_changes(page: &mut Page, spending: &Spending) {
    page.title("What changed in that time");
    if spending.changes.is_empty() {
        page.line("Nothing that the manifest knows of: no new view, version or entity, no invalidation, no removal.");
        return;
    }
    page.table(
        [("when", Align::Left), ("view", Align::Left), ("what", Align::Left)],
        spending
            .changes
            .iter()
            .take(MOST_CHANGES)
            .map(|change| [ago(spending.until, change.at), change.view.clone(), change.what.clone()]),
    );
    let more = spending.changes.len().saturating_sub(MOST_CHANGES);
    if more > 0 {
        page.line(&format!("and {more} more; --json has them all"));
    }
}

fn write_checks(page: &mut Page, title: &str, checks: &[CheckLine]) {
    if !checks.is_empty() {
        page.title(title);
        checks.iter().for_each(|line| line.write(page));
    }
}
