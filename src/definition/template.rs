//! Text that names variables of the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The variables that `${NAME}` in a definition stands for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The variables of this process whose names and values are UTF-8.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of a variable; an empty one is none.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    /// How many variables there are, and none of them: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

/// Text in which `${NAME}` stands for a variable of the environment. It prints as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable(String),
}

impl Template {
    /// Reads the text.
    ///
    /// # Errors
    /// `Invalid` where a `${` is not closed, or what it holds is no name of a variable.
    pub fn new(text: &str) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, behind)) = after.split_once('}') else {
                return Err(Error::invalid("a ${ is not closed: write ${NAME}"));
            };
            if !is_variable(name) {
                // Not repeated: it may be a password that lost its way.
                return Err(Error::invalid(
                    "what stands in ${…} is no name of a variable: use letters, digits and underscores, no digit first",
                ));
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Variable(name.to_owned()));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self(pieces))
    }

    /// The text with the variables' values.
    ///
    /// # Errors
    /// `Invalid`, naming the variables that are not set or empty.
    pub fn expand(&self, environment: &Environment) -> Result<String> {
        self.expand_with(environment, str::to_owned)
    }

    /// The same, with the values changed by `quote` on their way in.
    pub(super) fn expand_with(&self, environment: &Environment, quote: fn(&str) -> String) -> Result<String> {
        let unset: Vec<_> = self.variables().filter(|name| environment.get(name).is_none()).collect();
        if !unset.is_empty() {
            return Err(Error::invalid(format!(
                "\"{self}\" needs the environment variable {}: set it",
                unset.join(" and ")
            )));
        }
        let value = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(name) => environment.get(name).map(quote).unwrap_or_default(),
        };
        Ok(self.0.iter().map(value).collect())
    }

    /// Whether it is made of variables alone.
    pub(super) fn is_variables_only(&self) -> bool {
        !self.0.is_empty() && self.variables().count() == self.0.len()
    }

    fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Variable(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }
}

fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Variable(name) => write!(f, "${{{name}}}"),
        })
    }
}

/// The paths of files, with `*`, `?`, `[…]` and `**`. It prints as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    template: Template,
    directory: PathBuf,
}

impl PathPattern {
    /// Reads a pattern, which is relative to `directory`, an absolute path.
    ///
    /// # Errors
    /// `Invalid` where a `${` or a `[` is not closed, or it begins with `~`.
    pub fn new(text: &str, directory: &Path) -> Result<Self> {
        if text.starts_with('~') {
            return Err(Error::invalid(format!("{text:?} begins with ~, which only a shell knows: write ${{HOME}}")));
        }
        if text.rfind('[').is_some_and(|open| !text.get(open..).unwrap_or_default().contains(']')) {
            return Err(Error::invalid(format!("{text:?} has a [ that is not closed")));
        }
        Ok(Self { template: Template::new(text)?, directory: directory.to_owned() })
    }

    /// The pattern of one file, whatever characters its absolute path has.
    ///
    /// # Errors
    /// `Invalid` where the path is not UTF-8.
    pub fn literal(path: &Path) -> Result<Self> {
        let text = path.to_str().ok_or_else(|| {
            Error::invalid(format!("the path {} is not UTF-8: give the file another name", path.display()))
        })?;
        let plain = |c: char| match c {
            '*' | '?' | '[' => format!("[{c}]"),
            c => c.to_string(),
        };
        let piece = Piece::Text(text.chars().map(plain).collect());
        Ok(Self { template: Template(vec![piece]), directory: PathBuf::from("/") })
    }

    /// The pattern as an absolute one with the variables' values.
    ///
    /// # Errors
    /// `Invalid`, naming the variables that are not set.
    pub fn expand(&self, environment: &Environment) -> Result<PathBuf> {
        Ok(self.directory.join(self.template.expand(environment)?))
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.template.fmt(f)
    }
}
