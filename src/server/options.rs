//! How a server listens, and who may ask.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::error::{Error, ErrorKind, Result};

/// Fewer letters are guessed too soon.
const SHORTEST_TOKEN: usize = 16;

/// How a [`Server`](super::Server) listens and what it puts up with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens. Default: `127.0.0.1:8000`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What a request has to carry as `Authorization: Bearer …`, `/health` aside. Default: nothing,
    /// which is refused for any address that other machines reach.
    pub token: Option<Token>,
    /// Connections at a time; more are turned away. Default: 1024.
    pub max_connections: usize,
    /// How long a client may take to send a request's headers, and an idle connection is kept. Default: 10 s.
    pub header_timeout: Duration,
    /// How long a request may take. Default: 15 s.
    pub request_timeout: Duration,
    /// After so long a connection is closed with its next answer, and cut off a request's time later:
    /// clients that read slowly do not stay for ever. Default: 60 s.
    pub connection_lifetime: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            token: None,
            max_connections: 1024,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(15),
            connection_lifetime: Duration::from_secs(60),
        }
    }
}

impl Options {
    /// Refuses an address that other machines reach without a token.
    ///
    /// # Errors
    /// `Invalid`, naming the address.
    pub fn validate(&self) -> Result<()> {
        if self.token.is_none() && !self.listen.ip().to_canonical().is_loopback() {
            return Err(Error::invalid(format!(
                "{} can be reached from other machines, and nothing guards it: give a token in a file (--token-file) or \
                 in LARDER_TOKEN, or listen on 127.0.0.1",
                self.listen
            )));
        }
        Ok(())
    }
}

/// A secret that requests have to carry. Never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes a token without the white space around it.
    ///
    /// # Errors
    /// `Invalid` for one of fewer than 16 characters, or with others than visible ASCII.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.len() < SHORTEST_TOKEN {
            return Err(Error::invalid(format!(
                "a token needs at least {SHORTEST_TOKEN} characters: make one with `openssl rand -hex 32`"
            )));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(
                "a token may only have visible ASCII characters: make one with `openssl rand -hex 32`",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// Reads a token from a file that nobody else can read.
    ///
    /// # Errors
    /// `NotFound` or `Unavailable` where it cannot be read; `Invalid` where other users can read it, or
    /// for what [`new`](Self::new) refuses.
    pub fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let failed = |error: std::io::Error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Unavailable,
            };
            Error::with_source(kind, format!("cannot read the token file {shown}"), error)
        };
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).map_err(failed)?.permissions());
        if mode & 0o077 != 0 {
            return Err(Error::invalid(format!(
                "the token file {shown} can be read by other users (mode {:03o}): chmod 600 {shown}",
                mode & 0o777
            )));
        }
        let text = std::fs::read_to_string(file).map_err(failed)?;
        Self::new(&text).map_err(|error| Error::invalid(format!("token file {shown}: {error}")))
    }

    /// Whether it is the same, in a time that does not tell how much of it is.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_this_machine_is_answered_without_a_token() {
        let at = |listen: &str, token: Option<&str>| {
            let token = token.map(|token| Token::new(token).unwrap());
            Options { listen: listen.parse().unwrap(), token, ..Options::default() }.validate()
        };
        let secret = Some("0123456789abcdef");
        for local in ["127.0.0.1:8000", "127.8.8.8:1", "[::1]:8000", "[::ffff:127.0.0.1]:80"] {
            at(local, None).unwrap();
        }
        for open in ["0.0.0.0:8000", "[::]:8000", "10.0.0.7:8000", "[::ffff:10.0.0.7]:80"] {
            let refused = at(open, None).unwrap_err().to_string();
            assert!(refused.contains(open) && refused.contains("--token-file"), "{refused}");
            at(open, secret).unwrap();
        }
    }

    #[test]
    fn a_token_is_long_and_never_printed() {
        assert!(Token::new("short").unwrap_err().to_string().contains("openssl"));
        assert!(Token::new("0123456789abcdeä").is_err());
        let token = Token::new(" 0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef") && !token.is(b"0123456789abcdeg") && !token.is(b""));
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn a_token_file_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Token::read(&file).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(Token::read(&file).unwrap().is(b"0123456789abcdef"));
        assert_eq!(Token::read(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
