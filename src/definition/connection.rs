//! The address of a PostgreSQL database, which may hold secrets.

use std::fmt;

use super::template::{Environment, Template};
use crate::error::{Error, Result};

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
/// What of a URL's parameters says which database it is; the rest says how to get in.
const WHICH: [&str; 5] = ["dbname", "host", "hostaddr", "options", "port"];
const SECRET: [&str; 2] = ["password", "sslpassword"];

/// The URL of a PostgreSQL database, such as `postgres://reader:${PGPASSWORD}@db/market`, or one variable that
/// holds it.
///
/// It prints as it was written, which holds no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    scheme: &'static str,
    /// `user` or `user:password`.
    login: Option<Template>,
    address: Template,
}

/// Text that does not print.
pub struct Secret(String);

impl Secret {
    /// The text, for whoever it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PostgresUrl {
    /// Reads a URL. The message of an error does not repeat it.
    ///
    /// # Errors
    /// `Invalid` where it is no such URL, or a password is written out.
    pub fn new(text: &str) -> Result<Self> {
        let Some((scheme, rest)) =
            SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme).map(|rest| (*scheme, rest)))
        else {
            let whole = Template::new(text)?;
            return match whole.is_variables_only() {
                true => Ok(Self { scheme: "", login: None, address: whole }),
                false => Err(Error::invalid("a URL begins with postgres://, or is a variable: ${DATABASE_URL}")),
            };
        };
        let (login, address) = split_login(rest);
        let written = login.and_then(|login| login.split_once(':')).map(|(_, password)| password);
        let in_parameters = parameters(address).filter(|(name, _)| SECRET.contains(name)).map(|(_, value)| value);
        for password in written.into_iter().chain(in_parameters) {
            if !password.is_empty() && !Template::new(password)?.is_variables_only() {
                return Err(Error::invalid(
                    "the password is written out: put it into an environment variable and write ${NAME}",
                ));
            }
        }
        Ok(Self { scheme, login: login.map(Template::new).transpose()?, address: Template::new(address)? })
    }

    /// The URL with the variables' values; user and password are escaped as a URL wants it.
    ///
    /// # Errors
    /// `Invalid`, naming the variables that are not set.
    pub fn expand(&self, environment: &Environment) -> Result<Secret> {
        let login = self.login.as_ref().map(|login| login.expand_with(environment, escape)).transpose()?;
        let login = login.map(|login| login + "@").unwrap_or_default();
        Ok(Secret(format!("{}{login}{}", self.scheme, self.address.expand(environment)?)))
    }

    /// Which database it is, whoever reads it with whatever password.
    ///
    /// # Errors
    /// `Invalid`, naming the variables that are not set.
    pub(super) fn database(&self, environment: &Environment) -> Result<String> {
        let address = self.address.expand(environment)?;
        let (_, address) = split_login(address.split_once("://").map_or(&*address, |(_, rest)| rest));
        let mut which: Vec<_> = parameters(address).filter(|(name, _)| WHICH.contains(name)).collect();
        which.sort_unstable();
        let which: Vec<_> = which.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(format!("postgres://{}?{}", address.split('?').next().unwrap_or_default(), which.join("&")))
    }
}

/// Login and address. The last `@` divides them, even behind a `/`: a password may hold one that is not escaped.
fn split_login(rest: &str) -> (Option<&str>, &str) {
    let end = rest.find('?').unwrap_or(rest.len());
    match rest.get(..end).and_then(|address| address.rfind('@')) {
        Some(at) => (rest.get(..at), rest.get(at + 1..).unwrap_or_default()),
        None => (None, rest),
    }
}

fn parameters(address: &str) -> impl Iterator<Item = (&str, &str)> {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    query.split('&').filter_map(|pair| pair.split_once('='))
}

fn escape(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scheme)?;
        if let Some(login) = &self.login {
            write!(f, "{login}@")?;
        }
        self.address.fmt(f)
    }
}
