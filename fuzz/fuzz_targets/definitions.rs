//! Any text as a file of definitions.
#![no_main]

use larder_fuzz::definition::{Definitions, Environment};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let environment = Environment::from_iter([("DATA".to_owned(), "/data".to_owned())]);
    if let Ok(definitions) = Definitions::of_texts([("a.toml".into(), text.to_owned())], environment) {
        for view in definitions.views().keys() {
            let _ = definitions.feature_view(view);
        }
        for source in definitions.sources().keys() {
            let _ = definitions.rows_of(source);
        }
    }
});
