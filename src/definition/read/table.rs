//! A strict reader of one table: what nobody took out of it is a mistake.

use std::cell::RefCell;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::File;
use super::nearest::suggest;
use super::value::{Key, Value, quoted};

/// A table with the name of what it defines. Every method that finds a mistake keeps it and goes on, so that one
/// reading finds all; dropping the table adds the keys that no method asked for.
pub(super) struct Table<'t> {
    pub file: &'t File,
    pub what: String,
    /// Where its name stands.
    pub at: usize,
    entries: &'t DeTable<'t>,
    asked: RefCell<Vec<&'static str>>,
    /// Whether keys that nobody asked for are to be reported.
    strict: bool,
}

/// A key of a table with free keys, where it stands, and its value.
pub(super) type Entry<'t> = (&'t str, usize, &'t Spanned<DeValue<'t>>);

impl<'t> Table<'t> {
    pub fn new(file: &'t File, what: String, at: usize, entries: &'t DeTable<'t>) -> Self {
        Self { file, what, at, entries, asked: RefCell::default(), strict: true }
    }

    /// The table that `value` is.
    pub fn of(file: &'t File, what: String, at: usize, value: &'t Spanned<DeValue<'t>>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(entries) => Some(Self::new(file, what, at, entries)),
            other => {
                file.mistake(value.span().start, format!("{what}: {} is not allowed: use a table", shown_kind(other)));
                None
            }
        }
    }

    /// Lets keys pass that nobody asked for: another mistake made it unclear which are right.
    pub fn ignore_rest(&mut self) {
        self.strict = false;
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.get(key).is_some()
    }

    /// Where `name` stands in the table under `key`.
    pub fn place_of(&self, key: &str, name: &str) -> usize {
        let inner = self.entries.get(key).and_then(|value| value.get_ref().as_table());
        let found = inner.and_then(|inner| inner.keys().find(|key| key.get_ref().as_ref() == name));
        found.map_or(self.at, |key| key.span().start)
    }

    fn get(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.borrow_mut().push(key);
        self.entries.get(key)
    }

    /// A mistake about the value of `key`, or about the table where it has none.
    pub fn mistake(&self, key: &str, message: &str) {
        self.mistake_at(self.value_of(key), message);
    }

    pub fn mistake_at(&self, at: usize, message: &str) {
        self.file.mistake(at, format!("{}: {message}", self.what));
    }

    /// Where the value of `key` stands; the name of the table, where there is none.
    pub fn value_of(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.at, |value| value.span().start)
    }

    /// What `read` makes of the value of `key`, where there is one.
    pub fn with<T>(&self, key: &'static str, read: impl FnOnce(&'t DeValue<'t>) -> Result<T, String>) -> Option<T> {
        read(self.get(key)?.get_ref()).map_err(|what| self.mistake(key, &format!("{key}: {what}"))).ok()
    }

    pub fn optional<T: Value>(&self, key: &'static str) -> Option<T> {
        self.with(key, T::read)
    }

    pub fn or<T: Value>(&self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    pub fn required<T: Value>(&self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.mistake(key, &format!("{key} is missing: use {}", T::expected()));
        }
        self.optional(key)
    }

    /// The name of a column.
    pub fn column(&self, key: &'static str) -> Option<String> {
        if !self.has(key) {
            self.mistake(key, &format!("{key} is missing: use the name of a column"));
        }
        self.optional(key)
    }

    /// Whether the table under `key` holds nothing.
    pub fn is_empty(&self, key: &str) -> bool {
        let table = self.entries.get(key).and_then(|value| value.get_ref().as_table());
        table.is_some_and(DeTable::is_empty)
    }

    /// The table under `key`, where there is one.
    pub fn table(&self, key: &'static str) -> Option<Table<'t>> {
        let value = self.get(key)?;
        Table::of(self.file, format!("{}: {key}", self.what), value.span().start, value)
    }

    /// All entries, in the order in which they stand in the file.
    pub fn entries(&mut self) -> Vec<Entry<'t>> {
        self.strict = false;
        let mut entries: Vec<_> =
            self.entries.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span().start, value)).collect();
        entries.sort_by_key(|(_, at, _)| *at);
        entries
    }

    /// The table under `key` as names with values.
    pub fn map<K: Key, V: Value>(&self, key: &'static str) -> Option<BTreeMap<K, V>> {
        let mut table = self.table(key)?;
        let mut map = BTreeMap::new();
        for (name, at, value) in table.entries() {
            let wrong = |at: usize, message: String| self.file.mistake(at, format!("{}: {message}", table.what));
            let name_read = K::of(name).map_err(|message| wrong(at, message));
            let value_read =
                V::read(value.get_ref()).map_err(|message| wrong(value.span().start, format!("{name}: {message}")));
            if let (Ok(name), Ok(value)) = (name_read, value_read) {
                map.insert(name, value);
            }
        }
        Some(map)
    }

    /// The list under `key`: each value with the place where it stands.
    pub fn list<T: Value>(&self, key: &'static str) -> Option<Vec<(T, usize)>> {
        let value = self.get(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            self.mistake(key, &format!("{key}: {} is not allowed: use a list", shown_kind(value.get_ref())));
            return None;
        };
        let mut list = Vec::with_capacity(values.len());
        for value in values.iter() {
            match T::read(value.get_ref()) {
                Ok(read) => list.push((read, value.span().start)),
                Err(what) => self.file.mistake(value.span().start, format!("{}: {key}: {what}", self.what)),
            }
        }
        Some(list)
    }

    /// The same for a list that must be there.
    pub fn required_list<T: Value>(&self, key: &'static str) -> Option<Vec<(T, usize)>> {
        if !self.has(key) {
            self.mistake(key, &format!("{key} is missing: use a list, each {}", T::expected()));
        }
        self.list(key)
    }
}

/// What a value is, where it should have been a table or list.
fn shown_kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        if !self.strict {
            return;
        }
        let mut asked = self.asked.take();
        asked.sort_unstable();
        asked.dedup();
        for (key, _) in self.entries {
            let name = key.get_ref().as_ref();
            if !asked.contains(&name) {
                let near = suggest(name, asked.iter().copied(), "keys");
                self.file.mistake(key.span().start, format!("{}: unknown key {}: {near}", self.what, quoted(name)));
            }
        }
    }
}
