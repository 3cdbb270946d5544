//! The definitions that a command works with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cache::FeatureStore;
use crate::compute::Features;
use crate::definition::{Definitions, Environment, ServiceDefinition, ServiceFeature};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, EntityName, FeatureName, KeyType, KeyValue};
use crate::registry::{DefinitionFile, Registry};

use super::names::existing;
use super::session::Session;

/// The directory that is read where none is given.
pub const DIRECTORY: &str = "config/features";

fn files(directory: &Path) -> Result<Vec<DefinitionFile>> {
    let files = Definitions::files(directory)?;
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    Ok(files.into_iter().map(|(path, text)| DefinitionFile { path: absolute(path), text }).collect())
}

/// The definition files of a directory, and what they define.
///
/// # Errors
/// `Invalid` with every mistake in the files; those of reading them.
pub fn read(directory: &Path) -> Result<(Vec<DefinitionFile>, Definitions)> {
    let files = files(directory)?;
    let texts = files.iter().map(|file| (file.path.clone(), file.text.clone()));
    let definitions = Definitions::of_texts(texts, Environment::of_process())?;
    Ok((files, definitions))
}

/// The definition files of a directory, and the features that they define, over the session's cache.
///
/// # Errors
/// `Invalid` with every mistake in the files; those of reading them and of opening the store.
pub fn candidate(directory: &Path, session: &Session) -> Result<(Vec<DefinitionFile>, Features)> {
    let (files, definitions) = read(directory)?;
    let store = FeatureStore::builder(&session.root).settings(session.settings.clone()).open()?;
    Ok((files, Features::builder(store, definitions).open()?))
}

/// The definitions that were applied last.
///
/// # Errors
/// `NotFound` where none were; those of the registry.
pub fn applied(session: &Session) -> Result<Definitions> {
    let version = Registry::new(&session.root).latest()?.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!(
                "no definitions were applied to the cache at {}: begin with `{}`",
                session.root.display(),
                session.command("apply")
            ),
        )
    })?;
    version.definitions(Environment::of_process())
}

/// Features as they were applied, over the session's cache.
///
/// # Errors
/// Those of [`applied`], of opening the store, and of sources that cannot be opened.
pub fn features(session: &Session) -> Result<Features> {
    let definitions = applied(session)?;
    let store = FeatureStore::builder(&session.root).settings(session.settings.clone()).open()?;
    Features::builder(store, definitions).open()
}

/// What a name is that is neither a view nor a service, or not where one of them is wanted; as the end of a sentence.
pub fn other_kind(definitions: &Definitions, name: &str) -> Option<String> {
    let list = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    if let Some(service) = definitions.services().values().find(|service| service.name.as_str() == name) {
        let views = service.features.iter().flat_map(|feature| match feature {
            ServiceFeature::View(read) => vec![read.view.as_str()],
            ServiceFeature::OnDemand(name) => inputs(definitions, name),
        });
        return Some(format!("{name} is a service, which reads the views {}", list(views.collect())));
    }
    let feature = definitions.on_demand().keys().find(|feature| feature.as_str() == name)?;
    let has = |service: &&ServiceDefinition| service.features.contains(&ServiceFeature::OnDemand(feature.clone()));
    let services: BTreeSet<&str> =
        definitions.services().values().filter(has).map(|service| service.name.as_str()).collect();
    let services = if services.is_empty() { "no service yet".to_owned() } else { list(services) };
    let views = list(inputs(definitions, feature).into_iter().collect());
    Some(format!(
        "{name} is a feature computed on demand, from rows of {views}: it is got with a service that has it, which is {services}"
    ))
}

fn inputs<'a>(definitions: &'a Definitions, feature: &FeatureName) -> Vec<&'a str> {
    let inputs = definitions.on_demand().get(feature).map_or(&[][..], |feature| &feature.inputs);
    inputs.iter().map(|input| input.view.as_str()).collect()
}

/// The entity that `text` names, such as `symbol=EURUSD,venue=OANDA`, with the types that are defined.
///
/// # Errors
/// `Invalid` where it has other keys, or a value of another type.
pub fn entity(definitions: &Definitions, name: &EntityName, text: &str) -> Result<EntityKey> {
    let entity = definitions
        .entities()
        .get(name)
        .ok_or_else(|| Error::internal(format!("entity {name} is mentioned but not defined")))?;
    let mut pairs = Vec::new();
    for pair in text.split(',') {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| Error::invalid(format!("entity {text:?}: write KEY=VALUE, such as symbol=EURUSD")))?;
        let key_type = entity.keys.iter().find(|(known, _)| known.as_str() == key).map(|(_, key_type)| *key_type);
        let key_type = key_type.ok_or_else(|| {
            let keys = existing(key, entity.keys.keys().map(|key| key.as_str()));
            Error::invalid(format!("entity {name} has no key {key:?}: it has {keys}"))
        })?;
        let value = match key_type {
            KeyType::Integer => KeyValue::from(value.parse::<i64>().map_err(|_| {
                Error::invalid(format!("entity {name}: {key}={value}: the value has to be a whole number"))
            })?),
            KeyType::Text => KeyValue::from(value),
        };
        pairs.push((key, value));
    }
    if let Some(missing) = entity.keys.keys().find(|key| !pairs.iter().any(|(given, _)| *given == key.as_str())) {
        return Err(Error::invalid(format!("entity {text:?}: give {missing}=… too")));
    }
    EntityKey::new(pairs)
}
