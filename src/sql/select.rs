//! What a definition's SQL may be.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::sandbox::Sandbox;
use crate::error::{Error, Result};

/// Functions whose value is always the same for the same arguments go by this name in DuckDB's catalogue.
pub(super) const CONSISTENT: &str = "CONSISTENT";
/// The present under names that the parser turns into something else than a function of the catalogue.
const PRESENT: [&str; 6] =
    ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today"];
/// Functions in `FROM` that read nothing.
const TABLE_FUNCTIONS: [&str; 3] = ["generate_series", "range", "unnest"];

/// A `SELECT` whose result depends on its rows alone: no parameter, no random number, no clock, no other table than
/// those it is given and those it names itself in `WITH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    text: String,
    columns: BTreeSet<String>,
}

impl Select {
    /// Checks a query over the table `table`.
    ///
    /// # Errors
    /// `Invalid`, saying what is wrong and, for a mistake in the grammar, where.
    pub fn query(sandbox: &Sandbox, text: &str, table: &str) -> Result<Self> {
        check(sandbox, text, text, table, 0)
    }

    /// Checks an expression over the columns of one row and, with `OVER`, of others.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn expression(sandbox: &Sandbox, text: &str) -> Result<Self> {
        const BEFORE: &str = "SELECT (";
        // On lines of its own, so that a comment at its end ends there.
        let whole = format!("{BEFORE}{text}\n) FROM {ROWS} WINDOW w AS (ORDER BY event_timestamp)");
        let select = check(sandbox, &whole, text, ROWS, BEFORE.len())?;
        Ok(Self { text: text.to_owned(), ..select })
    }

    /// The text that was checked.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The columns that it mentions; `*` is one of them where it reads all.
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }
}

/// The table that expressions read.
pub(super) const ROWS: &str = "rows";

/// The tables that a query reads. It is one `SELECT`, which may ask
/// for the present or a random number, but in `FROM` calls no function that reads or does anything.
///
/// # Errors
/// `Invalid`, saying what is wrong.
#[cfg(feature = "cli")]
pub(crate) fn tables(sandbox: &Sandbox, text: &str) -> Result<Tables> {
    let Found { tables, with, table_functions, .. } = found(sandbox, text, text, 0)?;
    check_table_functions(&table_functions, "it may read tables only")?;
    Ok(Tables { read: tables, own: with })
}

/// What a query names in `FROM`.
#[cfg(feature = "cli")]
#[derive(Debug)]
pub(crate) struct Tables {
    /// Every table, with schema and catalogue where it says them.
    pub read: BTreeSet<String>,
    /// What it defines itself in `WITH`, which may hide a table of that name.
    pub own: BTreeSet<String>,
}

fn check_table_functions(names: &BTreeSet<String>, instead: &str) -> Result<()> {
    match names.iter().find(|name| !TABLE_FUNCTIONS.contains(&name.as_str())) {
        Some(name) => Err(Error::invalid(format!("it reads from {name}(): {instead}"))),
        None => Ok(()),
    }
}

fn check(sandbox: &Sandbox, whole: &str, text: &str, table: &str, before: usize) -> Result<Select> {
    let found = found(sandbox, whole, text, before)?;
    found.check(sandbox.functions()?, table)?;
    Ok(Select { text: text.to_owned(), columns: found.columns })
}

fn found(sandbox: &Sandbox, whole: &str, text: &str, before: usize) -> Result<Found> {
    if text.trim().is_empty() {
        return Err(Error::invalid("it is empty"));
    }
    let parsed = sandbox.parse(whole)?;
    if at(&parsed, "error") == &Value::Bool(true) {
        return Err(refusal(&parsed, text, before));
    }
    let statements = at(&parsed, "statements").as_array().map_or(&[][..], Vec::as_slice);
    if statements.len() != 1 {
        return Err(Error::invalid(format!("{} statements are given: give one SELECT", statements.len())));
    }
    let mut found = Found::default();
    found.walk(&parsed);
    Ok(found)
}

/// The value under this key; null where there is none.
fn at<'a>(node: &'a Value, key: &str) -> &'a Value {
    node.get(key).unwrap_or(&Value::Null)
}

fn refusal(parsed: &Value, text: &str, before: usize) -> Error {
    let message = at(parsed, "error_message").as_str().unwrap_or("it cannot be read");
    if at(parsed, "error_type") == "not implemented" {
        return Error::invalid("it is no SELECT: only SELECT is allowed".to_owned());
    }
    let place = at(parsed, "position")
        .as_str()
        .and_then(|place| place.parse::<usize>().ok())
        .and_then(|place| place.checked_sub(before));
    match place.and_then(|place| text.get(place..)).filter(|rest| !rest.trim().is_empty()) {
        Some(rest) => {
            let rest: String = rest.chars().take(30).collect();
            Error::invalid(format!("{message}, where it says `{}`", rest.trim()))
        }
        None => Error::invalid(message.to_owned()),
    }
}

/// What a statement mentions.
#[derive(Default)]
struct Found {
    columns: BTreeSet<String>,
    functions: BTreeSet<String>,
    tables: BTreeSet<String>,
    table_functions: BTreeSet<String>,
    with: BTreeSet<String>,
    parameters: bool,
}

impl Found {
    fn walk(&mut self, node: &Value) {
        match node {
            Value::Array(nodes) => nodes.iter().for_each(|node| self.walk(node)),
            Value::Object(fields) => {
                self.note(node);
                fields.values().for_each(|node| self.walk(node));
            }
            _ => {}
        }
    }

    fn note(&mut self, node: &Value) {
        let text = |key: &str| at(node, key).as_str().map(str::to_owned);
        match at(node, "type").as_str() {
            Some("COLUMN_REF") => {
                let names = at(node, "column_names").as_array();
                let last = names.and_then(|names| names.last()).and_then(Value::as_str).map(str::to_owned);
                self.columns.extend(last);
            }
            Some("STAR") => {
                self.columns.insert("*".to_owned());
            }
            Some("VALUE_PARAMETER") => self.parameters = true,
            Some("BASE_TABLE") => {
                // Whatever schema or catalogue it says: only bare names are given.
                let path = at(at(node, "qualified_name"), "path").as_array();
                let names: Vec<_> = path.into_iter().flatten().filter_map(Value::as_str).collect();
                self.tables.insert(names.join("."));
            }
            Some("TABLE_FUNCTION") => {
                self.table_functions.extend(at(at(node, "function"), "function_name").as_str().map(str::to_lowercase))
            }
            _ => {}
        }
        self.functions.extend(text("function_name").map(|name| name.to_lowercase()));
        if let Some(entries) = at(at(node, "cte_map"), "map").as_array() {
            self.with.extend(entries.iter().filter_map(|entry| at(entry, "key").as_str()).map(str::to_owned));
        }
    }

    fn check(&self, functions: &BTreeMap<String, String>, table: &str) -> Result<()> {
        if self.parameters {
            return Err(Error::invalid(
                "it has a parameter (`?` or `$1`), for which nothing is given: write the value",
            ));
        }
        check_table_functions(&self.table_functions, "it may read its own rows only")?;
        for name in &self.tables {
            if !name.eq_ignore_ascii_case(table) && !self.with.iter().any(|with| with.eq_ignore_ascii_case(name)) {
                return Err(Error::invalid(format!(
                    "it reads the table {name}: the only one that it is given is {table}"
                )));
            }
        }
        for name in self.functions.iter().chain(&self.columns) {
            let stable = functions.get(name).is_none_or(|stability| stability == CONSISTENT);
            let is_function = self.functions.contains(name);
            if PRESENT.contains(&name.to_lowercase().as_str()) || (is_function && !stable) {
                return Err(Error::invalid(format!(
                    "{name} is not the same each time, so that what is cached would not be what is computed: \
                     use event_timestamp, or leave it out"
                )));
            }
        }
        Ok(())
    }
}
