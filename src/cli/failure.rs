//! What ends a command before it has a report, and with which exit status.

use std::process::ExitCode;

use crate::error::{Error, ErrorKind};

/// The exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is as it should be.
    Good,
    /// A finding, or a failure.
    Finding,
    /// Something that was typed, set or given as a file is not allowed.
    Usage,
    /// Stopped by Ctrl-C, with the number that shells use for it.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Finding => 1,
            Self::Usage => 2,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command has nothing to report.
#[derive(Debug)]
pub enum Failure {
    /// It failed.
    Error(Error),
    /// It was stopped; the text says what is done.
    Interrupted(String),
}

impl Failure {
    /// The exit status that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Error(error) if error.kind() == ErrorKind::Invalid => Exit::Usage,
            Self::Error(_) => Exit::Finding,
            Self::Interrupted(_) => Exit::Interrupted,
        }
    }

    /// Its kind, as JSON names it.
    pub fn kind(&self) -> String {
        match self {
            Self::Error(error) => error.kind().to_string().replace(' ', "_"),
            Self::Interrupted(_) => "interrupted".to_owned(),
        }
    }

    /// What happened, in one line.
    pub fn message(&self) -> String {
        let text = match self {
            Self::Error(error) => error.to_string(),
            Self::Interrupted(what) => format!("interrupted: {what}"),
        };
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
