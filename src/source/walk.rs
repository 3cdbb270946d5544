//! Finding the files of a pattern.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::partition::{Calendar, Days, pair};
use super::pattern::{Segment, is_hidden, segments};
use crate::error::{Error, ErrorKind, Result};

/// Deeper than anybody's directories.
const DEEPEST: usize = 64;

/// Which files are looked for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Columns that have one value, and it.
    pub(super) values: Vec<(String, String)>,
    /// The days on which the times of rows, as the files give them, may lie.
    pub(super) days: Option<Days>,
}

/// A file of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// The days of its rows, where its directories say so.
    pub(super) days: Option<Days>,
}

/// The paths of a source.
#[derive(Debug)]
pub(super) struct Paths {
    patterns: Vec<Vec<Segment>>,
    event_time: String,
}

impl Paths {
    /// The files that these absolute patterns stand for.
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = &'a Path>, event_time: &str) -> Result<Self> {
        let patterns = patterns.into_iter().map(segments).collect::<Result<_>>()?;
        Ok(Self { patterns, event_time: event_time.to_owned() })
    }

    /// Files that may hold what is wanted, each once, in the order of the patterns and then of the names; and how
    /// many directories were listed to find them.
    pub(super) fn find(&self, wanted: &Wanted) -> Result<(Vec<Candidate>, usize)> {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let listed = self.visit(wanted, &mut |candidate| {
            if seen.insert(candidate.path.clone()) {
                found.push(candidate);
            }
            ControlFlow::Continue(())
        })?;
        Ok((found, listed))
    }

    /// The first file, if there is any.
    pub(super) fn first(&self) -> Result<Option<PathBuf>> {
        let mut first = None;
        self.visit(&Wanted::default(), &mut |candidate| {
            first = Some(candidate.path);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// The days of a file's rows, as far as its directories say so. A name that is written out in a pattern says
    /// nothing of days; where one stands behind a wildcard, nothing is told.
    pub(super) fn days_of(&self, path: &Path) -> Option<Days> {
        let mut literal = 0;
        for pattern in &self.patterns {
            let leading = pattern.iter().take_while(|segment| matches!(segment, Segment::Literal(_))).count();
            let mut behind = pattern.iter().skip(leading);
            if behind.any(|segment| matches!(segment, Segment::Literal(name) if pair(name).is_some())) {
                return None;
            }
            literal = literal.max(leading);
        }
        let names = path.parent()?.components().skip(1 + literal).filter_map(|name| name.as_os_str().to_str());
        let pairs = names.filter_map(pair);
        pairs
            .fold(Calendar::default(), |calendar, (key, value)| match value {
                Some(value) => calendar.with(key, &value, &self.event_time),
                None => calendar,
            })
            .days()
    }

    /// The directories that hold the files or those on the way to them, each with whether all below it does.
    pub(super) fn roots(&self) -> Vec<(PathBuf, bool)> {
        let root = |pattern: &Vec<Segment>| {
            let literal = pattern.iter().map_while(|segment| match segment {
                Segment::Literal(name) => Some(name.as_str()),
                _ => None,
            });
            let names: Vec<_> = literal.take(pattern.len().saturating_sub(1)).collect();
            let is_deep = names.len() + 1 < pattern.len();
            (Path::new("/").join(names.iter().collect::<PathBuf>()), is_deep)
        };
        self.patterns.iter().map(root).collect()
    }

    fn visit(&self, wanted: &Wanted, found: &mut dyn FnMut(Candidate) -> ControlFlow<()>) -> Result<usize> {
        let mut walk = Walk { wanted, event_time: &self.event_time, found, listed: 0 };
        for pattern in &self.patterns {
            if walk.go(PathBuf::from("/"), pattern, Calendar::default(), 0)?.is_break() {
                break;
            }
        }
        Ok(walk.listed)
    }
}

struct Walk<'a> {
    wanted: &'a Wanted,
    event_time: &'a str,
    found: &'a mut dyn FnMut(Candidate) -> ControlFlow<()>,
    listed: usize,
}

/// Carries on, or stops because the visitor has seen enough.
type Step = Result<ControlFlow<()>>;

impl Walk<'_> {
    fn go(&mut self, at: PathBuf, pattern: &[Segment], calendar: Calendar, depth: usize) -> Step {
        match pattern {
            [] => Ok(self.file(at, calendar)),
            // A name that is written out says nothing of days: it may be that of a snapshot.
            [Segment::Literal(name), rest @ ..] if self.has_values(name) => {
                self.go(at.join(name), rest, calendar, depth)
            }
            [Segment::Literal(_), ..] => Ok(ControlFlow::Continue(())),
            [Segment::Glob(glob), rest @ ..] => {
                for (name, _) in self.list(&at)? {
                    if glob.matches(&name) && self.enter(&at, &name, rest, calendar, depth)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            }
            [Segment::Any, rest @ ..] => self.below(at, pattern, rest, calendar, depth),
        }
    }

    /// `**`: what follows it here, then the same in every directory. A link to a directory may lead back up, and is
    /// left alone.
    fn below(&mut self, at: PathBuf, pattern: &[Segment], rest: &[Segment], calendar: Calendar, depth: usize) -> Step {
        if !rest.is_empty() && self.go(at.clone(), rest, calendar, depth)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        for (name, kind) in self.list(&at)? {
            let on = match (kind.is_dir(), rest) {
                _ if is_hidden(&name) => continue,
                (true, _) if depth < DEEPEST => pattern,
                (false, []) => rest,
                _ => continue,
            };
            if self.enter(&at, &name, on, calendar, depth + 1)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Goes on in a directory that a wildcard stands for, unless it says that it holds nothing that is wanted.
    fn enter(&mut self, at: &Path, name: &str, rest: &[Segment], calendar: Calendar, depth: usize) -> Step {
        let calendar = match pair(name) {
            Some((key, Some(value))) => calendar.with(key, &value, self.event_time),
            _ => calendar,
        };
        let other_days = calendar.days().zip(self.wanted.days).is_some_and(|(days, wanted)| !days.may_hold(wanted));
        if other_days || !self.has_values(name) {
            return Ok(ControlFlow::Continue(()));
        }
        self.go(at.join(name), rest, calendar, depth)
    }

    /// Whether a directory's value is the wanted one.
    fn has_values(&self, name: &str) -> bool {
        let Some((key, value)) = pair(name) else { return true };
        self.wanted.values.iter().all(|(column, wanted)| column != key || Some(wanted) == value.as_ref())
    }

    fn file(&mut self, path: PathBuf, calendar: Calendar) -> ControlFlow<()> {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => (self.found)(Candidate { path, days: calendar.days() }),
            _ => ControlFlow::Continue(()),
        }
    }

    /// The names in a directory in their order, with what they are; nothing where there is no such directory.
    fn list(&mut self, directory: &Path) -> Result<Vec<(String, fs::FileType)>> {
        self.listed += 1;
        let listed = fs::read_dir(directory).and_then(|entries| {
            let entry = |entry: io::Result<fs::DirEntry>| entry.and_then(|e| Ok((e.file_name(), e.file_type()?)));
            entries.map(entry).collect::<io::Result<Vec<_>>>()
        });
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Vec::new(),
            Err(error) => {
                let message = format!("cannot list {}: check the directory and its owner", directory.display());
                return Err(Error::with_source(ErrorKind::Unavailable, message, error));
            }
        };
        let utf8 = |(name, kind): (std::ffi::OsString, fs::FileType)| match name.into_string() {
            Ok(name) => Ok((name, kind)),
            Err(name) => {
                let path = directory.join(name);
                Err(Error::invalid(format!("the name of {} is not UTF-8: rename it", path.display())))
            }
        };
        let mut names = entries.into_iter().map(utf8).collect::<Result<Vec<_>>>()?;
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    }
}
