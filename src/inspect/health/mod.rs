//! Whether a cache is well: figures against limits, and what to do where one is passed.
//!
//! The limits of the checks that belong to an alert are those of the alert, `for` included where it
//! can be known. What only a process knows of itself, such as publishes that failed, is in its metrics.

mod cache;
mod facts;
mod manifest;
mod requests;
mod upkeep;

use serde::Serialize;

use super::quantity::counted;

pub use facts::{
    DeepFacts, DirectoryFacts, HealthFacts, JournalFacts, KnownFacts, ManifestState, OldVersions, ViewFacts,
};

/// How a check came out, the worse the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Pass,
    /// Somebody should look.
    Warn,
    /// Somebody has to act.
    Fail,
}

/// How often somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// Cheap, and soon out of hand.
    Daily,
    /// Slow to change, or slow to find out.
    Weekly,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// In words.
    pub advice: String,
    /// Arguments of `larder` that do it or show more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// One line of the checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How often somebody should.
    pub period: Period,
    /// How it came out.
    pub level: Level,
    /// What was found.
    pub figure: String,
    /// What would be too much or too little.
    pub limit: String,
    /// What to do, unless it passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// The alert that tells of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<&'static str>,
}

impl Check {
    fn new(name: &'static str, level: Level, figure: impl Into<String>, limit: impl Into<String>) -> Self {
        let (figure, limit) = (figure.into(), limit.into());
        Self { name, period: Period::Daily, level, figure, limit, fix: None, alert: None }
    }

    /// Arguments of `larder` that mend it or show more, where it did not pass.
    pub fn command_line(&self) -> Option<&str> {
        self.fix.as_ref()?.command.as_deref()
    }

    /// What was found, and what was wanted unless it is the same.
    pub fn in_words(&self) -> String {
        if self.figure == self.limit {
            return self.figure.clone();
        }
        format!("{} (wanted: {})", self.figure, self.limit)
    }

    fn weekly(mut self) -> Self {
        self.period = Period::Weekly;
        self
    }

    fn alert(mut self, alert: &'static str) -> Self {
        self.alert = Some(alert);
        self
    }

    /// What to do where it did not pass.
    fn fix(mut self, advice: impl Into<String>) -> Self {
        if self.level > Level::Pass {
            self.fix = Some(Fix { advice: advice.into(), command: None });
        }
        self
    }

    /// The same with a command that does it or shows more.
    fn command(mut self, advice: impl Into<String>, command: impl Into<String>) -> Self {
        if self.level > Level::Pass {
            self.fix = Some(Fix { advice: advice.into(), command: Some(command.into()) });
        }
        self
    }
}

/// `Warn` or `Fail` where something is so, otherwise `Pass`.
fn unless(bad: bool, level: Level) -> Level {
    if bad { level } else { Level::Pass }
}

/// Judges the facts: arithmetic alone. What cannot be known is [`left_out`].
pub fn checks(facts: &HealthFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(known) = &facts.known {
        checks.extend(requests::checks(known));
    }
    checks.extend(cache::checks(facts));
    checks.extend(manifest::checks(facts));
    if let Some(known) = &facts.known {
        checks.extend(upkeep::checks(facts, known));
    }
    if let Some(deep) = &facts.deep {
        checks.extend(upkeep::deep(facts, deep));
    }
    checks
}

/// How many checks could not be asked because the manifest does not answer, those of the weekly list with them where
/// it was asked for; `None` where it answers.
pub fn left_out(facts: &HealthFacts, weekly: bool) -> Option<Check> {
    if facts.known.is_some() {
        return None;
    }
    let deep = weekly.then(DeepFacts::default);
    let answering = HealthFacts { known: Some(KnownFacts::nothing(&facts.settings)), deep, ..facts.clone() };
    let number = checks(&answering).len() - checks(facts).len();
    let figure = format!(
        "{} could not be asked, because the manifest does not answer",
        counted(number as u64, "check", "checks")
    );
    let check = Check::new("Left out", unless(number > 0, Level::Warn), figure, "none");
    Some(check.fix("do what the line of the manifest says, then ask again: what was not asked may be bad"))
}

#[cfg(test)]
mod tests;
