//! What an error of the server means to whoever defined the source.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::database::Database;
use crate::error::{Error, ErrorKind};

impl Database {
    /// What went wrong, and what to do. Nothing that the server says of it holds a password.
    pub(super) fn failure(&self, error: &tokio_postgres::Error) -> Error {
        use ErrorKind::{Busy, Invalid, NotFound, Unavailable};
        let code = error.code().map_or("", SqlState::code);
        let place = &self.place;
        let (kind, what) = match code {
            "28P01" | "28000" => (Invalid, "refuses the user or the password: check them in its url".to_owned()),
            "3D000" => (NotFound, "has no such database: check its url".to_owned()),
            "42P01" | "3F000" => (NotFound, format!("does not find {place}: check table or query")),
            "42501" => (Invalid, format!("does not let this user read {place}: grant it SELECT")),
            "57014" => (
                Unavailable,
                format!(
                    "did not finish reading {place} within {}: index its keys together with its event time, ask for \
                     less, or raise statement_timeout",
                    humantime::format_duration(self.limits.statement)
                ),
            ),
            "53300" => (Busy, "has no connection left: retry, or raise its max_connections".to_owned()),
            "" => silence(&error.to_string()),
            _ => match code.get(..2).unwrap_or_default() {
                "08" | "57" => (Unavailable, "is stopping or starting: retry".to_owned()),
                "22" => (Invalid, format!("cannot make a value of {place}: correct it, or the query")),
                "42" => (Invalid, format!("does not understand what is asked of {place}: check table or query")),
                _ => (Unavailable, format!("failed to read {place}: mend the cause, then retry")),
            },
        };
        let cause = error.as_db_error().map_or_else(|| chain(error), |said| said.message().to_owned());
        Error::with_source(kind, format!("source {}: {} {what}", self.source, self.server), cause)
    }

    /// The server said nothing for so long.
    pub(super) fn silent(&self, limit: Duration) -> Error {
        let (source, server, limit) = (&self.source, &self.server, humantime::format_duration(limit));
        let message =
            format!("source {source}: {server} did not answer within {limit}: is it, or the network, overloaded?");
        Error::new(ErrorKind::Unavailable, message)
    }
}

/// An error with its causes, which it does not print itself.
fn chain(error: &tokio_postgres::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

/// What it means that the server did not say what is wrong.
fn silence(error: &str) -> (ErrorKind, String) {
    let (kind, what) = if error.starts_with("error performing TLS handshake") {
        let advice = "and this machine do not agree on TLS: let the server have a certificate that this machine trusts \
                      (its authority in SSL_CERT_FILE), or, where the network is safe, write sslmode=disable";
        (ErrorKind::Unavailable, advice)
    } else if error.starts_with("invalid configuration") {
        (ErrorKind::Invalid, "cannot be asked with this url: correct it")
    } else if error.starts_with("error connecting to server") {
        (ErrorKind::Unavailable, "cannot be reached: is it running, and is its url right?")
    } else {
        (ErrorKind::Unavailable, "broke the connection: retry")
    };
    (kind, what.to_owned())
}
