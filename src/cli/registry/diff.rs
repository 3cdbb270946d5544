//! What differs between two versions of the definitions.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::{Change, Changes, Page, plain};
use crate::cli::page::Tone;
use crate::definition::Environment;
use crate::registry::Version;

/// Lines that are shown around those that changed.
const AROUND: usize = 2;

/// What differs.
#[derive(Debug, Serialize)]
pub struct DiffFacts {
    from: u64,
    to: u64,
    /// By what definitions mean; absent where one of the versions cannot be read any more.
    changes: Option<Changes>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    files: Vec<FileFacts>,
}

/// A file whose text differs.
#[derive(Debug, Serialize)]
struct FileFacts {
    file: String,
    change: Change,
    /// Those that changed and some around them, each behind ` `, `-` or `+`; `…` where some are left out.
    lines: Vec<String>,
}

impl DiffFacts {
    /// What `to` differs in from `from`.
    pub fn between(from: &Version, to: &Version) -> Self {
        let definitions = |version: &Version| version.definitions(Environment::of_process());
        let (changes, unknown) = match (definitions(from), definitions(to)) {
            (Ok(old), Ok(new)) => (Some(Changes::between(Some(&old), &new)), None),
            (Err(error), _) | (_, Err(error)) => (None, Some(error.to_string())),
        };
        Self { from: from.number, to: to.number, changes, unknown, files: files(from, to) }
    }

    /// Writes it for people.
    pub fn write(&self, page: &mut Page) {
        match (&self.unknown, &self.changes) {
            (Some(unknown), _) => page.line(&format!("What they define cannot be compared: {}", plain(unknown))),
            (None, Some(changes)) if !changes.differing().is_empty() => changes.write(page),
            _ => page.line(&format!("Versions {} and {} mean the same.", self.from, self.to)),
        }
        for file in &self.files {
            page.title(&format!("{} ({})", plain(&file.file), file.change.as_str()));
            for line in &file.lines {
                let text = plain(line);
                page.verbatim(&match text.chars().next() {
                    Some('+') => Tone::Good.paint(&text),
                    Some('-') => Tone::Bad.paint(&text),
                    _ => text,
                });
            }
        }
    }
}

/// By their names: the same definitions may have been applied from another directory.
fn files(from: &Version, to: &Version) -> Vec<FileFacts> {
    let texts = |version: &'_ Version| -> BTreeMap<String, String> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        version.files.iter().map(|file| (name(&file.path), file.text.clone())).collect()
    };
    let (old, new) = (texts(from), texts(to));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differing
        .map(|name| {
            let change = match (old.contains_key(name), new.contains_key(name)) {
                (false, _) => Change::New,
                (_, false) => Change::Removed,
                _ => Change::Changed,
            };
            let text = |texts: &BTreeMap<String, String>| texts.get(name).cloned().unwrap_or_default();
            FileFacts { file: name.clone(), change, lines: lines(&text(&old), &text(&new)) }
        })
        .collect()
}

fn lines(old: &str, new: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(AROUND) {
        if !lines.is_empty() {
            lines.push("…".to_owned());
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(format!("{sign}{}", change.value().trim_end_matches(['\n', '\r'])));
        }
    }
    lines
}
