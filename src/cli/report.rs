//! What a command found, as text or as JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use super::failure::{Exit, Failure};
use super::page::{Page, Tone};
use crate::error::Error;

/// What a command found. Its serialised form is what `--json` prints.
pub trait Report: Serialize {
    /// Writes the same facts for people.
    fn write(&self, page: &mut Page);

    /// The exit status that goes with them.
    fn exit(&self) -> Exit {
        Exit::Good
    }
}

/// All of a kind, or one.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Shown<A, O> {
    All(A),
    One(O),
}

impl<A: Report, O: Report> Report for Shown<A, O> {
    fn write(&self, page: &mut Page) {
        match self {
            Self::All(all) => all.write(page),
            Self::One(one) => one.write(page),
        }
    }
}

/// Prints the one report of a run.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    json: bool,
}

impl Printer {
    /// Prints JSON, or text.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints the report, or why there is none, and returns the exit status.
    pub fn result<R: Report>(self, result: Result<R, Failure>) -> ExitCode {
        let report = match result {
            Ok(report) => report,
            Err(failure) => return self.failure(&failure),
        };
        let printed = if self.json {
            serde_json::to_string(&report).map_err(io::Error::other).and_then(|json| print(&format!("{json}\n")))
        } else {
            let mut page = Page::new();
            report.write(&mut page);
            print(&page.into_text())
        };
        match printed {
            Ok(()) => report.exit().into(),
            Err(error) => self.failure(
                &Error::with_source(crate::error::ErrorKind::Unavailable, "the report cannot be printed", error).into(),
            ),
        }
    }

    /// Prints why there is no report, and returns the exit status.
    pub fn failure(self, failure: &Failure) -> ExitCode {
        let label = Tone::Bad.paint("error:");
        let line = match failure {
            Failure::Error(_) => format!("{label} {}\n", failure.message()),
            Failure::Interrupted(_) => format!("{}\n", failure.message()),
        };
        // There is no place left to say that stderr cannot be written.
        let _ = anstream::stderr().write_all(line.as_bytes());
        if self.json {
            self.json_error(failure);
        }
        failure.exit().into()
    }

    /// Prints the failure as the JSON object that takes the report's place.
    pub fn json_error(self, failure: &Failure) {
        let object = json!({ "error": { "kind": failure.kind(), "message": failure.message() } });
        // It was told on stderr, and the exit status tells it too.
        let _ = print(&format!("{object}\n"));
    }
}

/// Writes to stdout. A reader that has seen enough is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
