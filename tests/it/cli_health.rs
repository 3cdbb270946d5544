//! `doctor`, `explain` and what they stand on: the health of a cache, seen from a shell.

use std::sync::Arc;
use std::time::Duration;

use larder::Timestamp;
use larder::clock::SystemClock;
use larder::inspect::{BlocksRequest, blocks};
use larder::manifest::Manifest;

use crate::cli::Larder;

fn manifest(larder: &Larder) -> Manifest {
    Manifest::new(larder.cache(), Arc::new(SystemClock))
}

fn newest(larder: &Larder) -> Vec<Option<Timestamp>> {
    let all = BlocksRequest { limit: Some(1000), ..BlocksRequest::default() };
    let facts = manifest(larder).read(|query| blocks(query, &all)).unwrap();
    facts.blocks.iter().map(|block| block.newest).collect()
}

#[test]
fn the_manifest_knows_the_newest_event_of_each_block_whether_told_or_rebuilt() {
    let larder = Larder::with_demo();
    let told = newest(&larder);
    let times: Vec<_> = told.iter().flatten().map(ToString::to_string).collect();
    // Five days of two symbols, of which Saturday is empty. Friday ends at 22:00.
    assert_eq!((told.len(), times.len()), (10, 8));
    assert!(times.iter().all(|time| time.ends_with(":59:00Z")), "{times:?}");
    std::fs::remove_file(larder.cache().join("manifest.duckdb")).unwrap();
    larder.json("stats");
    assert_eq!(newest(&larder), told);
}

#[test]
fn the_manifest_knows_how_long_the_values_of_a_view_are_valid() {
    let larder = Larder::new();
    let view = larder::FeatureView::builder("momentum")
        .entity("symbol")
        .feature("value", arrow::datatypes::DataType::Float64)
        .ttl(Duration::from_secs(90))
        .parameter("fast", 12)
        .build()
        .unwrap();
    let store = larder::FeatureStore::builder(larder.cache()).open().unwrap();
    let entity = larder::EntityKey::new([("symbol", "EURUSD")]).unwrap();
    store.get_or_compute(&view, &entity, crate::desk::range("2024-03-01", "2024-03-02"), crate::desk::minutes).unwrap();
    drop(store);
    let current = manifest(&larder).read(|query| query.current_views()).unwrap().remove(0);
    assert_eq!((current.view.as_str(), current.ttl()), ("momentum", Some(Duration::from_secs(90))));
    let definition: serde_json::Value = serde_json::from_str(&current.definition).unwrap();
    assert_eq!((&definition["parameters"]["fast"], &definition["span"]), (&"12".into(), &"day".into()));
}

#[test]
fn blocks_are_paged_by_view_entity_and_day() {
    let larder = Larder::with_demo();
    let ask = |parameters: &[(&str, &str)]| {
        let request = BlocksRequest::parse(parameters.iter().copied()).unwrap();
        manifest(&larder).read(|query| blocks(query, &request)).unwrap()
    };
    let (mut after, mut seen) = (Some(0), Vec::new());
    while let Some(next) = after {
        let page = ask(&[("limit", "4"), ("after", &next.to_string())]);
        assert_eq!(page.total, 10);
        seen.extend(page.blocks.into_iter().map(|block| (block.entity, block.start)));
        after = page.next;
    }
    assert!(seen.len() == 10 && seen.is_sorted(), "{seen:?}");
    assert_eq!(ask(&[("entity", "EURUSD")]).total, 5);
    assert_eq!(ask(&[("entity", "symbol=EURUSD"), ("day", "2024-03-11")]).total, 1);
    assert_eq!(ask(&[("day", "2024-03-11"), ("view", "technical_features")]).total, 2);
    assert_eq!(ask(&[("entity", "GBPUSD")]).total, 0, "no such entity is not every entity");
    assert_eq!(ask(&[("view", "prices")]).total, 0);
}
