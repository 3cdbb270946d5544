//! Settings from a file and the environment.
//!
//! The environment wins over the file, the file over the defaults.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::settings::{ALLOWED, Settings, allowed};
use crate::error::{Error, ErrorKind, Result};

const PREFIX: &str = "LARDER_";
const RETENTION: &str = "FEATURE_CACHE_RETENTION_DAYS";
/// What the program logs and the secret of its server, which are no settings of the store.
const NOT_SETTINGS: &[&str] = if cfg!(feature = "planted") {
    &["LARDER_LOG", "LARDER_TOKEN", "LARDER_PLANTED"]
} else {
    &["LARDER_LOG", "LARDER_TOKEN"]
};

/// The cache directory where none is given: `FEATURE_CACHE_DIR`, else `~/.feature_cache`.
///
/// # Errors
/// `Invalid` where neither that variable nor a home directory is set.
pub fn default_cache_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("FEATURE_CACHE_DIR").filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).map(|home| home.join(".feature_cache")).ok_or_else(
        || Error::invalid("there is no home directory for ~/.feature_cache: set FEATURE_CACHE_DIR or give a directory"),
    )
}

/// Reads settings from `file`, where one is given, and from this process's environment:
/// `FEATURE_CACHE_RETENTION_DAYS`, and `LARDER_<KEY>` or `LARDER_<SECTION>__<KEY>` for every key.
///
/// # Errors
/// `Invalid` for an unknown key, a wrong type or a value that is not allowed, naming the file or
/// variable, the key, the value and what is allowed; `NotFound` where the file does not exist.
pub fn load(file: Option<&Path>) -> Result<Settings> {
    load_from(
        file,
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    )
}

/// The same with the environment given.
///
/// # Errors
/// As [`load`].
pub fn load_from(file: Option<&Path>, environment: impl IntoIterator<Item = (String, String)>) -> Result<Settings> {
    let mut table = Table::new();
    if let Some(file) = file {
        table = read(file)?;
        // Checked on its own first, so that a mistake is blamed on the place where it stands.
        interpret(&table).map_err(|what| blame(&file.display().to_string(), &what))?;
    }
    for (variable, text) in environment {
        let Some(key) = key_of(&variable) else { continue };
        set(&mut table, &key, &text).map_err(|what| blame(&variable, &what))?;
        interpret(&table).map_err(|what| blame(&format!("environment variable {variable}"), &what))?;
    }
    interpret(&table).map_err(Error::invalid)
}

fn blame(place: &str, what: &str) -> Error {
    Error::invalid(format!("{place}: {what}"))
}

fn read(file: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        Error::with_source(kind, format!("cannot read the settings file {}", file.display()), error)
    })?;
    text.parse::<Table>().map_err(|error| {
        Error::invalid(format!("{} is not valid TOML: {}", file.display(), error.to_string().trim_end()))
    })
}

fn key_of(variable: &str) -> Option<String> {
    if variable == RETENTION {
        return Some("retention_days".to_owned());
    }
    // A Kubernetes service called `larder` sets the other two kinds in every pod.
    if NOT_SETTINGS.contains(&variable)
        || variable.starts_with("LARDER_SERVICE_")
        || variable.starts_with("LARDER_PORT")
    {
        return None;
    }
    Some(variable.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", "."))
}

fn set(table: &mut Table, key: &str, text: &str) -> Result<(), String> {
    if !ALLOWED.iter().any(|(name, _)| *name == key) {
        return Err(unknown(key));
    }
    // A number or boolean where it reads as one, otherwise text: `30s` needs no quotes in a shell.
    let value = format!("x = {text}").parse::<Table>().ok().and_then(|mut parsed| parsed.remove("x"));
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, key)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(section) = section else { return Err(format!("{key} belongs into a section")) };
            section.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

/// Settings from a table, or what is wrong with which key.
fn interpret(table: &Table) -> Result<Settings, String> {
    let known =
        |key: &str| ALLOWED.iter().any(|(name, _)| *name == key || name.split_once('.').is_some_and(|(s, _)| s == key));
    for (key, value) in table {
        if !known(key) {
            return Err(unknown(key));
        }
        if let Value::Table(section) = value {
            let stranger = section.keys().map(|inner| format!("{key}.{inner}")).find(|path| !known(path));
            if let Some(path) = stranger {
                return Err(unknown(&path));
            }
        }
    }
    let settings: Settings = serde_path_to_error::deserialize(Value::Table(table.clone())).map_err(|error| {
        let key = error.path().to_string();
        format!("{key} has a wrong value: {}; use {}", error.inner().to_string().trim_end(), allowed(&key))
    })?;
    settings.validate().map_err(|error| error.to_string())?;
    Ok(settings)
}

fn unknown(key: &str) -> String {
    let nearest = ALLOWED.iter().map(|(name, _)| (distance(name, key), *name)).min();
    let names: Vec<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
    match nearest {
        Some((steps, name)) if steps <= 3 => format!("unknown key {key:?}: did you mean {name:?}?"),
        _ => format!("unknown key {key:?}: the keys are {}", names.join(", ")),
    }
}

/// How many letters must change to make one word the other (Levenshtein).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(row.first_mut().unwrap_or(&mut 0), i + 1);
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.chars()) {
            let here = (diagonal + usize::from(x != y)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, here);
            left = here;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("larder.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn nothing_set_is_the_defaults() {
        assert_eq!(
            load_from(
                None,
                env(&[
                    ("PATH", "/bin"),
                    ("LARDER_LOG", "debug"),
                    ("LARDER_SERVICE_HOST", "10.0.0.1"),
                    ("LARDER_PORT_80_TCP", "x")
                ])
            )
            .unwrap(),
            Settings::default()
        );
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let (_dir, path) = file("retention_days = 3\n[slo]\nobjective = 0.9\n");
        let variables = env(&[("FEATURE_CACHE_RETENTION_DAYS", "14"), ("LARDER_COMPUTE__WAIT_TIMEOUT", "2s")]);
        let settings = load_from(Some(&path), variables).unwrap();
        assert_eq!(settings.retention_days, 14.0);
        assert_eq!(settings.slo.objective, 0.9);
        assert_eq!(settings.compute.wait_timeout, Duration::from_secs(2));
    }

    #[test]
    fn the_shipped_file_holds_every_key_at_its_default() {
        let shipped = crate::checkout::path("config/larder.toml");
        assert_eq!(load_from(Some(&shipped), []).unwrap(), Settings::default());
        let table = read(&shipped).unwrap();
        for (key, _) in ALLOWED {
            let found = match key.split_once('.') {
                None => table.contains_key(key),
                Some((section, key)) => table.get(section).is_some_and(|section| section.get(key).is_some()),
            };
            assert!(found, "{key} is missing from config/larder.toml");
        }
    }

    #[test]
    fn mistakes_in_a_file_name_file_key_value_and_what_is_allowed() {
        let cases: [(&str, &[&str]); 7] = [
            ("compresion_level = 3", &["unknown key \"compresion_level\"", "did you mean \"compression_level\"?"]),
            ("[slo]\nobjectiv = 1", &["unknown key \"slo.objectiv\"", "slo.objective"]),
            ("compression_level = \"three\"", &["compression_level", "three", "from 1 to 22"]),
            ("compression_level = 99", &["compression_level = 99", "from 1 to 22"]),
            ("[slo]\nobjective = 95", &["slo.objective = 95", "below 1"]),
            ("[compute]\nwait_timeout = \"soon\"", &["compute.wait_timeout", "soon", "30s"]),
            ("durability = \"maybe\"", &["durability", "maybe", "\"fast\" or \"durable\""]),
        ];
        for (text, parts) in cases {
            let (_dir, path) = file(text);
            let message = load_from(Some(&path), []).unwrap_err().to_string();
            assert!(message.starts_with(&path.display().to_string()), "{message}");
            for part in parts {
                assert!(message.contains(part), "{message} should say {part}");
            }
        }
    }

    #[test]
    fn broken_toml_and_a_missing_file_are_told_apart() {
        let (_dir, path) = file("retention_days = = 3");
        assert!(load_from(Some(&path), []).unwrap_err().to_string().contains("is not valid TOML"));
        let missing = load_from(Some(&path.with_file_name("none.toml")), []).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn mistakes_in_the_environment_name_the_variable() {
        for (name, value, part) in [
            ("LARDER_SLO__OBJECTIV", "0.9", "slo.objective"),
            ("FEATURE_CACHE_RETENTION_DAYS", "week", "retention_days"),
            ("LARDER_THREADS", "-1", "0 (one per core) to 256"),
        ] {
            let message = load_from(None, env(&[(name, value)])).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_distance_counts_letters() {
        assert_eq!([distance("a", "a"), distance("kitten", "sitting"), distance("", "ab")], [0, 3, 2]);
    }
}
