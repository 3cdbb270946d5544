//! Files of definitions that are almost right.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::{BASE, environment};
use crate::checkout;
use crate::definition::Definitions;
use crate::mutate::{Dice, mutate, times};

const WORDS: [&[u8]; 24] = [
    b"[view.v]\n",
    b"[source.s]\n",
    b"[entity.e]\n",
    b"[service.x]\n",
    b"= \"symbol\"",
    b"= 9223372036854775807",
    b"= -1",
    b"= 1e308",
    b"= nan",
    b"= [[[[[[",
    b"= { a = { a = { a = {",
    b"\"\"\"",
    b"${DATA}",
    b"${",
    b"{symbol}",
    b"{date:%Y%m}",
    b"'; DROP TABLE x; --",
    b"..",
    b"*?[]",
    b"\xc3\xa9",
    b"\xff",
    b"\0",
    b"period = 0",
    b"over = \"999999999d\"",
];

/// The files that there are: those that are shipped, the page about them, and the tests' own.
fn honest() -> Vec<String> {
    let page = std::fs::read_to_string(checkout::path("docs/definitions.md")).unwrap();
    let shipped = ["market.toml", "usdcop.toml"].map(|name| checkout::path("config/features").join(name));
    let mut files: Vec<_> = shipped.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    files.extend(page.split("```toml").skip(1).filter_map(|part| part.split("```").next()).map(str::to_owned));
    files.push(BASE.to_owned());
    files
}

#[test]
fn files_changed_at_random_are_read_or_refused_in_words() {
    let (count, honest) = (times(6_000, 200_000), honest());
    let (mut read, mut refused) = (0, 0);
    for seed in 0..count {
        let mut dice = Dice::new(seed);
        let text = &honest[dice.roll(honest.len())];
        let text = String::from_utf8_lossy(&mutate(text.as_bytes(), &WORDS, &mut dice)).into_owned();
        let found = catch_unwind(AssertUnwindSafe(|| {
            let definitions = Definitions::of_texts([(PathBuf::from("a.toml"), text.clone())], environment());
            let definitions = definitions.map_err(|error| crate::Error::from(error).to_string())?;
            for view in definitions.views().keys() {
                let _ = definitions.feature_view(view);
            }
            for source in definitions.sources().keys() {
                let _ = definitions.rows_of(source);
            }
            Ok::<_, String>(())
        }));
        match found.unwrap_or_else(|_| panic!("seed {seed}: panicked over\n{text}")) {
            Ok(()) => read += 1,
            Err(message) => {
                // Where it is, and what; nothing of the environment.
                assert!(message.starts_with("a.toml:") && !message.contains("hush"), "seed {seed}: {message}\n{text}");
                refused += 1;
            }
        }
    }
    eprintln!("{count} changed files of definitions: {read} read, {refused} refused with their place, 0 panics");
    assert!(read > 0 && refused > 0);
}

#[test]
fn deep_and_long_files_are_refused_and_do_not_end_the_process() {
    let deep = [
        format!("x = {}", "[".repeat(100_000)),
        format!("x = {}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("x = {}", "{ a = ".repeat(50_000)),
        format!("{} = 1", vec!["a"; 50_000].join(".")),
        format!("[{}]", vec!["a"; 50_000].join(".")),
        format!("[view.{}]", "v".repeat(1_000_000)),
        "\"".repeat(1_000_000),
        "[view.v]\n".repeat(20_000),
    ];
    for text in deep {
        let shown: String = text.chars().take(20).collect();
        let refused = Definitions::of_texts([(PathBuf::from("a.toml"), text)], environment());
        assert!(crate::Error::from(refused.unwrap_err()).to_string().starts_with("a.toml:"), "{shown}");
    }
}
