//! What right definitions read as.

use proptest::prelude::*;

use super::{BASE, environment, read, read_files};
use crate::definition::{Definitions, Indicator, Postgres, PostgresRows, PostgresUrl, SourceKind, ViewSource};
use crate::error::{Error, ErrorKind};
use crate::model::{SourceName, ViewName};

fn source_kind(definitions: &Definitions, name: &str) -> SourceKind {
    definitions.sources()[&SourceName::new(name).unwrap()].kind.clone()
}

#[test]
fn features_keep_the_order_of_the_file() {
    let names = ["z_last", "a_first", "m_mid"];
    let features: String = names.iter().map(|name| format!("{name} = {{ column = \"{name}\" }}\n")).collect();
    let text = format!("[view.v]\nentity = \"symbol\"\nsource = \"bars\"\n[view.v.features]\n{features}");
    let definitions = read(&text).unwrap();
    let view = definitions.feature_view(&ViewName::new("v").unwrap()).unwrap();
    let read: Vec<_> = view.features().iter().map(|feature| feature.name().to_string()).collect();
    assert_eq!(read, names);
}

#[test]
fn a_path_is_relative_to_its_file() {
    let text = "[source.s]\nkind = \"csv\"\nevent_time = \"t\"\npath = [\"../x/*.csv\", \"/abs/${DATA}.csv\"]";
    let definitions = read_files(&[("/etc/larder/a.toml", text)]).unwrap();
    let SourceKind::Csv { paths, .. } = source_kind(&definitions, "s") else { panic!() };
    let expanded: Vec<_> = paths.iter().map(|path| path.expand(&environment()).unwrap()).collect();
    assert_eq!(expanded[0].to_str(), Some("/etc/larder/../x/*.csv"));
    assert_eq!(expanded[1].to_str(), Some("/abs//data.csv"));
}

#[test]
fn a_password_never_prints() {
    let text = "[source.s]\nkind = \"postgres\"\nevent_time = \"t\"\nurl = \"postgres://reader:${PGPASSWORD}@db/m\"\ntable = \"t\"";
    let definitions = read(text).unwrap();
    let SourceKind::Postgres(Postgres { url, rows, connect_timeout, statement_timeout }) =
        source_kind(&definitions, "s")
    else {
        panic!()
    };
    assert_eq!((connect_timeout.as_secs(), statement_timeout.as_secs()), (5, 30));
    assert_eq!(rows, PostgresRows::Table("t".to_owned()));
    assert_eq!(url.to_string(), "postgres://reader:${PGPASSWORD}@db/m");
    let secret = url.expand(definitions.environment()).unwrap();
    assert_eq!(secret.reveal(), "postgres://reader:hush@db/m");
    for printed in [format!("{definitions:?}"), format!("{secret:?}"), format!("{:?}", definitions.environment())] {
        assert!(!printed.contains("hush"), "{printed}");
    }
}

#[test]
fn a_password_goes_into_a_url_escaped() {
    let url = PostgresUrl::new("postgres://me:${ODD}@db/m?sslmode=require").unwrap();
    assert_eq!(url.expand(&environment()).unwrap().reveal(), "postgres://me:p%40s%2Fs@db/m?sslmode=require");
}

#[test]
fn a_directory_is_read_in_the_order_of_names_and_must_hold_something() {
    let directory = tempfile::tempdir().unwrap();
    let read = || Definitions::read(directory.path(), environment());
    let message = Error::from(read().unwrap_err()).to_string();
    assert_eq!(message, format!("{} holds no definitions: put a file *.toml into it", directory.path().display()));
    for (name, text) in [("b.toml", "[entity.e]"), ("a.toml", "[entity.e]"), ("c.md", "no definition")] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let message = Error::from(read().unwrap_err()).to_string();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("b.toml:1:9: entity \"e\" is defined twice: first at "), "{message}");
    let nowhere = Definitions::read(&directory.path().join("none"), environment());
    assert_eq!(Error::from(nowhere.unwrap_err()).kind(), ErrorKind::NotFound);
}

#[test]
fn a_view_that_reads_a_view_has_its_lateness_and_knows_its_columns() {
    let text = "[view.slow]\nentity = \"symbol\"\nsource = \"bars\"\nlateness = \"9s\"\nfeatures.a = { column = \"close\" }\n\
                [view.v]\nentity = \"symbol\"\nsource = \"view:slow\"\nfeatures.b = { column = \"a\" }";
    let definitions = read(text).unwrap();
    let name = ViewName::new("v").unwrap();
    assert_eq!(definitions.views()[&name].source, ViewSource::View(ViewName::new("slow").unwrap()));
    assert_eq!(definitions.feature_view(&name).unwrap().lateness().as_secs(), 9);
}

#[test]
fn what_columns_a_query_returns_only_the_query_knows() {
    let text = "[view.v]\nentity = \"symbol\"\nsource = \"quotes\"\nsql = \"SELECT (bid + ask) / 2 AS mid FROM source\"\n\
                features.a = { column = \"mid\" }";
    assert!(read(text).is_ok());
}

#[test]
fn a_variable_is_missed_only_when_it_is_needed_and_then_named() {
    let definitions = read(
        "[source.s]\nkind = \"parquet\"\nevent_time = \"t\"\npath = \"${NOWHERE}/${EMPTY}\"\n\
                            [view.v]\nentity = \"symbol\"\nsource = \"s\"\nfeatures.a = { column = \"x\" }",
    )
    .unwrap();
    let message = definitions.feature_view(&ViewName::new("v").unwrap()).unwrap_err().to_string();
    assert_eq!(
        message,
        "view v: source s: \"${NOWHERE}/${EMPTY}\" needs the environment variable NOWHERE and EMPTY: set it"
    );
    assert!(definitions.feature_view(&ViewName::new("technical").unwrap()).is_ok());
}

#[test]
fn a_period_is_as_long_as_the_indicator_allows() {
    use crate::definition::Period;
    assert!(Period::new(1).is_ok() && Period::new(10_000).is_ok());
    assert!(Period::new(0).is_err() && Period::new(10_001).is_err() && Period::new(-1).is_err());
    let spread = Indicator::Spread { column: "a".to_owned(), minus: "b".to_owned() };
    assert_eq!(spread.columns(), ["a", "b"]);
}

/// A piece of a definition that may or may not be right.
fn piece() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "kind",
        "path",
        "event_time",
        "label",
        "at",
        "bar",
        "types",
        "valid",
        "fill",
        "layout",
        "long",
        "features",
        "entity",
        "source",
        "keys",
        "columns",
        "url",
        "over",
        "period",
        "inputs",
        "request",
        "sql",
        "tolerance",
    ]);
    let value = prop::sample::select(vec![
        "\"parquet\"",
        "\"csv\"",
        "\"postgres\"",
        "\"push\"",
        "\"view:technical\"",
        "\"technical.rsi_9\"",
        "[]",
        "[\"technical.rsi_9\", 3]",
        "{}",
        "{ x = \"double\" }",
        "{ at = \"open\", bar = \"5m\" }",
        "-1",
        "2.5",
        "nan",
        "inf",
        "true",
        "\"${\"",
        "\"${A}\"",
        "\"[\"",
        "\"\"",
        "\"5m\"",
        "1979-05-27",
        "{ a = { kind = \"rsi\" } }",
    ]);
    (key, value).prop_map(|(key, value)| format!("{key} = {value}\n"))
}

proptest! {
    #[test]
    fn no_text_is_too_much_for_the_reader(text in "\\PC{0,200}") {
        drop(read_files(&[("a.toml", &text)]));
    }

    #[test]
    fn no_definition_is_too_much_for_the_reader(
        sections in prop::collection::vec(
            (prop::sample::select(vec!["entity", "source", "view", "on_demand", "service"]), prop::collection::vec(piece(), 0..8)),
            1..5,
        ),
    ) {
        let mut text = BASE.to_owned();
        for (at, (section, pieces)) in sections.into_iter().enumerate() {
            text += &format!("\n[{section}.x{at}]\n{}", pieces.concat());
        }
        drop(read_files(&[("a.toml", &text)]));
    }
}
