//! One look at definitions, settings and source files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::live::{Configure, Origin};
use crate::cache::FeatureStore;
use crate::compute::{Changed, Features};
use crate::config;
use crate::definition::{Definitions, Environment};
use crate::error::{Error, ErrorKind, Result};
use crate::model::SourceName;
use crate::registry::Registry;
use crate::source::SourceFile;

/// What may have changed.
pub(super) enum Touched {
    /// These files, and what a look shows.
    Files(BTreeSet<PathBuf>),
    /// What a look shows. Events may have been lost.
    Unknown,
}

/// The texts that definitions were read from.
type Texts = Vec<(PathBuf, String)>;

/// Knows what was found at the last look.
pub(super) struct Looker {
    store: FeatureStore,
    origin: Origin,
    environment: Environment,
    configure: Box<Configure>,
    settings: Option<PathBuf>,
    /// The last definitions and settings that were tried, whether they hold or not.
    tried: Texts,
    tried_settings: Option<String>,
    definitions_hold: bool,
    settings_hold: bool,
    /// The files of each source with whose rows its blocks agree.
    files: BTreeMap<SourceName, BTreeMap<PathBuf, SourceFile>>,
    is_waiting: bool,
}

impl Looker {
    pub(super) fn begin(
        store: FeatureStore,
        origin: Origin,
        environment: Environment,
        configure: Box<Configure>,
        settings: Option<PathBuf>,
    ) -> Result<(Self, Features)> {
        let mut looker = Self {
            store,
            origin,
            environment,
            configure,
            settings,
            tried: Texts::new(),
            tried_settings: None,
            definitions_hold: true,
            settings_hold: true,
            files: BTreeMap::new(),
            is_waiting: false,
        };
        looker.tried = looker.texts()?;
        let features = looker.build(&looker.tried)?;
        if let Some(file) = &looker.settings {
            let text = read(file)?;
            looker.store.reconfigure(config::load(Some(file))?)?;
            looker.tried_settings = Some(text);
        }
        Ok((looker, features))
    }

    /// Whether something failed that may work soon.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Looks at everything, and returns the features of definitions that changed.
    pub(super) fn look(&mut self, features: &Features, touched: &Touched) -> Option<Features> {
        self.is_waiting = false;
        self.look_at_settings();
        let changed = self.look_at_definitions(features);
        if let Some(changed) = &changed {
            // Their blocks may be from long ago, when nobody held them against anything.
            self.files.clear();
            self.look_at_sources(changed, touched);
            return Some(changed.clone());
        }
        self.look_at_sources(features, touched);
        None
    }

    fn look_at_sources(&mut self, features: &Features, touched: &Touched) {
        let names: Vec<SourceName> = features.file_sources().map(|(name, _)| name.clone()).collect();
        for name in &names {
            if let Err(error) = self.look_at_source(features, name, touched) {
                self.is_waiting = true;
                tracing::warn!(target: "larder::watch", source = %name, %error, "cached blocks could not be held against their source: what is cached is served, and this is tried again");
            }
        }
        self.files.retain(|name, _| names.contains(name));
    }

    /// The directories that hold what is looked at, each with whether all below it does.
    pub(super) fn directories(&self, features: &Features) -> BTreeMap<PathBuf, bool> {
        let mut directories = BTreeMap::new();
        let mut add = |directory: PathBuf, deep: bool| *directories.entry(directory).or_insert(deep) |= deep;
        match &self.origin {
            Origin::Directory(directory) => add(absolute(directory), false),
            Origin::Applied => add(self.registry().directory().to_owned(), false),
        }
        if let Some(parent) = self.settings.as_deref().and_then(|file| absolute(file).parent().map(Path::to_owned)) {
            add(parent, false);
        }
        for (_, reader) in features.file_sources() {
            reader.iter().flat_map(|reader| reader.roots()).for_each(|(directory, deep)| add(directory, deep));
        }
        directories
    }

    fn look_at_settings(&mut self) {
        let Some(file) = &self.settings else { return };
        let text = read(file);
        if text.as_ref().ok() == self.tried_settings.as_ref() {
            return;
        }
        let applied = text.and_then(|text| {
            self.tried_settings = Some(text);
            self.store.reconfigure(config::load(Some(file))?)
        });
        self.settings_hold = applied.is_ok();
        match applied {
            Ok(fixed) => {
                let fixed = fixed.join(", ");
                tracing::info!(target: "larder::watch", file = %file.display(), needs_restart = fixed, "settings in force");
            }
            Err(error) => {
                if error.kind() != ErrorKind::Invalid {
                    (self.tried_settings, self.is_waiting) = (None, true);
                }
                tracing::error!(target: "larder::watch", file = %file.display(), %error, "settings are not taken: the old ones stay in force");
            }
        }
        self.tell();
    }

    fn look_at_definitions(&mut self, features: &Features) -> Option<Features> {
        let texts = self.texts();
        if texts.as_ref().ok() == Some(&self.tried) {
            return None;
        }
        let built = texts.and_then(|texts| {
            self.tried = texts;
            let built = self.build(&self.tried)?;
            self.approve(features, &built)?;
            Ok(built)
        });
        self.definitions_hold = built.is_ok();
        if built.as_ref().is_err_and(|error| error.kind() != ErrorKind::Invalid) {
            // Such as a source that is away for a moment.
            (self.tried, self.is_waiting) = (Texts::new(), true);
        }
        self.tell();
        built
            .inspect(|built| {
                let views = built.definitions().views().len();
                tracing::info!(target: "larder::watch", views, "definitions in force");
            })
            .inspect_err(|error| {
                tracing::error!(target: "larder::watch", %error, "definitions are not taken: the old ones stay in force");
            })
            .ok()
    }

    fn look_at_source(&mut self, features: &Features, name: &SourceName, touched: &Touched) -> Result<()> {
        // Before rows are read: what changes from here on is seen at the next look.
        let now = features.source_files(name)?;
        let changed = match (self.files.get(name), touched) {
            (Some(before), Touched::Files(touched)) => {
                let mut changed = differing(before, &now);
                changed.extend(touched.iter().filter(|file| now.contains_key(*file)).cloned());
                Some(changed)
            }
            (Some(before), Touched::Unknown) => Some(differing(before, &now)),
            (None, _) => None,
        };
        let changes = match &changed {
            Some(changed) if changed.is_empty() => return Ok(()),
            Some(changed) => features.recheck(name, Changed::Files(changed))?,
            None => features.recheck(name, Changed::Unknown)?,
        };
        self.files.insert(name.clone(), now);
        if changed.is_some() {
            features.refresh_newest(name);
            tracing::info!(target: "larder::watch", source = %name, checked = changes.checked, outdated = changes.outdated, "files of a source changed");
        }
        Ok(())
    }

    /// That the views that are new or others keep what they declare; those that were applied were asked then.
    fn approve(&self, before: &Features, built: &Features) -> Result<()> {
        built.check()?;
        if self.origin == Origin::Applied {
            return Ok(());
        }
        for name in built.definitions().views().keys() {
            let fingerprint = |features: &Features| features.view(name).ok().map(|view| view.fingerprint());
            if fingerprint(before) == fingerprint(built) {
                continue;
            }
            if let Some(found) = built.validate(name)?.findings.first() {
                return Err(Error::invalid(format!("view {name}: {found}")));
            }
        }
        Ok(())
    }

    fn build(&self, texts: &Texts) -> Result<Features> {
        let definitions = Definitions::of_texts(texts.iter().cloned(), self.environment.clone())?;
        (self.configure)(Features::builder(self.store.clone(), definitions)).open()
    }

    fn registry(&self) -> Registry {
        Registry::on(Arc::clone(self.store.cache_dir().disk()), self.store.dir())
    }

    fn texts(&self) -> Result<Texts> {
        match &self.origin {
            Origin::Directory(directory) => {
                let files = Definitions::files(directory)?;
                Ok(files.into_iter().map(|(path, text)| (absolute(&path), text)).collect())
            }
            Origin::Applied => {
                let version = self.registry().latest()?.ok_or_else(|| {
                    let what = format!("no definitions were applied to the cache at {}", self.store.dir().display());
                    Error::new(ErrorKind::NotFound, what)
                })?;
                Ok(version.files.into_iter().map(|file| (file.path, file.text)).collect())
            }
        }
    }

    fn tell(&self) {
        self.store.reloaded(self.definitions_hold && self.settings_hold);
    }
}

/// The files that came, went or are others.
fn differing(before: &BTreeMap<PathBuf, SourceFile>, now: &BTreeMap<PathBuf, SourceFile>) -> BTreeSet<PathBuf> {
    let other = |a: &BTreeMap<PathBuf, SourceFile>, b: &BTreeMap<PathBuf, SourceFile>| {
        let differs = |(path, file): &(&PathBuf, &SourceFile)| b.get(*path) != Some(*file);
        a.iter().filter(differs).map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    other(before, now).into_iter().chain(other(now, before)).collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).map_err(|error| {
        Error::with_source(ErrorKind::Unavailable, format!("cannot read the settings file {}", file.display()), error)
    })
}
