//! What definitions read as, and what is said of those that are wrong.

mod checks;
mod fingerprint;
mod fuzz;
mod mistakes;
mod read;
mod shipped;

use std::path::PathBuf;

use super::{Definitions, Environment, ReadError};
use crate::error::Error;
use crate::model::ViewName;

/// Definitions that others may lean on.
const BASE: &str = r#"
[entity.symbol]
[entity.account]
keys = { symbol = "text", account = "integer" }

[source.bars]
kind = "parquet"
path = "${DATA}/bars/*.parquet"
event_time = "ts"

[source.quotes]
kind = "push"
types = { bid = "double", ask = "double" }

[view.technical]
entity = "symbol"
source = "bars"
[view.technical.features]
rsi_9 = { kind = "rsi", column = "close", period = 9 }
log_ret_5m = { kind = "log_return", column = "close", over = "5m" }
"#;

fn environment() -> Environment {
    let variables = [("DATA", "/data"), ("PGPASSWORD", "hush"), ("EMPTY", ""), ("ODD", "p@s/s")];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn read_files(files: &[(&str, &str)]) -> Result<Definitions, ReadError> {
    let files = files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned()));
    Definitions::of_texts(files, environment())
}

/// Reads `text` as `a.toml` beside [`BASE`].
pub(super) fn read(text: &str) -> Result<Definitions, ReadError> {
    read_files(&[("base.toml", BASE), ("a.toml", text)])
}

/// All that is wrong with `text`.
fn mistakes(text: &str) -> String {
    Error::from(read(text).unwrap_err()).to_string()
}

fn fingerprint(definitions: &Definitions, view: &str) -> String {
    definitions.feature_view(&ViewName::new(view).unwrap()).unwrap().fingerprint().to_string()
}

/// `text` with the beginnings that many texts share.
fn expand(text: &str) -> String {
    let beginnings = [
        ("VIEW", "[view.v]\nentity = \"symbol\"\nsource = \"bars\"\n"),
        ("FILES", "[source.s]\nkind = \"parquet\"\nevent_time = \"t\""),
        ("FILE", "[source.s]\nkind = \"parquet\"\npath = \"a\"\nevent_time = \"t\""),
        ("POSTGRES", "[source.s]\nkind = \"postgres\"\nevent_time = \"t\""),
    ];
    beginnings.iter().fold(text.to_owned(), |text, (short, long)| text.replace(short, long))
}
