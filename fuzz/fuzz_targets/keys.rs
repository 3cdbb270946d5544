//! Any two texts as values of a key: they come back from their paths, and share none.
#![no_main]

use larder_fuzz::model::{BlockId, EntityKey, TimeRange, ViewName};
use larder_fuzz::store::{block_path, identity_of};

libfuzzer_sys::fuzz_target!(|values: (&str, &str)| {
    let path = |value: &str| {
        let id = BlockId {
            view: ViewName::new("prices").ok()?,
            fingerprint: "ce20d9dfd7046a750a2891dbead1269d".parse().ok()?,
            entity: EntityKey::new([("symbol", value)]).ok()?,
            range: TimeRange::parse("2024-03-01", "2024-03-02").ok()?,
        };
        let path = block_path(&id);
        let identity = identity_of(&path).expect("its own path");
        assert_eq!(identity.keys, [("symbol".to_owned(), value.to_owned())]);
        Some(path.to_string_lossy().to_lowercase())
    };
    if let (Some(one), Some(other)) = (path(values.0), path(values.1)) {
        assert_eq!(one == other, values.0 == values.1);
    }
});
