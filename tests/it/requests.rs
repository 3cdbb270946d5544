//! get_or_compute: which tier answers, and what is computed.

use larder::{Origin, Outcome};

use crate::desk::{Desk, checked_rows, range, symbol, time, view};

#[test]
fn a_miss_is_computed_once_then_served_from_memory_and_after_a_restart_from_disk() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let days = range("2024-03-01", "2024-03-04");
    let store = desk.open();
    let cold = store.get_or_compute(&view, &eurusd, days, |gap| desk.compute(gap)).unwrap();
    assert_eq!((cold.outcome(), desk.computes()), (Outcome::Miss, 1), "three adjacent blocks are one gap");
    assert_eq!(checked_rows(&cold, &eurusd), 3 * 1440);
    let warm = store.get_or_compute(&view, &eurusd, days, |gap| desk.compute(gap)).unwrap();
    assert_eq!(warm.outcome(), Outcome::Hit);
    assert!(warm.blocks().iter().all(|block| block.origin() == Origin::Memory));
    drop(store);
    let store = desk.open();
    let disk = store.get_or_compute(&view, &eurusd, days, |gap| desk.compute(gap)).unwrap();
    assert_eq!((disk.outcome(), desk.computes()), (Outcome::Hit, 1));
    assert!(disk.blocks().iter().all(|block| block.origin() == Origin::Disk));
    assert_eq!(disk.to_batch().unwrap(), cold.to_batch().unwrap());
}

#[test]
fn a_range_inside_a_block_gets_its_rows_and_keeps_the_whole_block() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let store = desk.open();
    let hour = range("2024-03-01T10:00:00Z", "2024-03-01T11:00:00Z");
    let answer = store.get_or_compute(&view, &eurusd, hour, |gap| desk.compute(gap)).unwrap();
    assert_eq!(checked_rows(&answer, &eurusd), 60);
    let rest = range("2024-03-01T11:00:00Z", "2024-03-01T23:00:00Z");
    let answer = store.get_or_compute(&view, &eurusd, rest, |gap| desk.compute(gap)).unwrap();
    assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Hit, 12 * 60));
}

#[test]
fn the_tail_is_extended_from_where_it_ends() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let store = desk.open();
    let mut gaps = Vec::new();
    let mut ask = |end: &str| {
        let answer = store
            .get_or_compute(&view, &eurusd, range("2024-03-15", end), |gap| {
                gaps.push(gap.range().to_string());
                desk.compute(gap)
            })
            .unwrap();
        (answer.outcome(), checked_rows(&answer, &eurusd))
    };
    assert_eq!(ask("2024-03-15T11:00:00Z"), (Outcome::Miss, 660));
    assert_eq!(ask("2024-03-15T11:59:00Z"), (Outcome::Hit, 719), "it is known up to a minute ago");
    desk.clock.set(time("2024-03-15T12:10:00Z").as_ns());
    assert_eq!(ask("2024-03-15T12:05:00Z"), (Outcome::Partial, 725));
    desk.clock.set(time("2024-03-16T12:00:00Z").as_ns());
    assert_eq!(ask("2024-03-16T00:00:00Z"), (Outcome::Partial, 1440));
    assert_eq!(ask("2024-03-16T00:00:00Z"), (Outcome::Hit, 1440));
    assert_eq!(
        gaps,
        [
            "2024-03-15T00:00:00Z to 2024-03-15T11:59:00Z",
            "2024-03-15T11:59:00Z to 2024-03-15T12:09:00Z",
            "2024-03-15T12:09:00Z to 2024-03-16T00:00:00Z",
        ]
    );
}

#[test]
fn what_lies_beyond_the_watermark_is_answered_and_not_kept() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let store = desk.open();
    let until_now = range("2024-03-15T11:00:00Z", "2024-03-15T12:00:00Z");
    for outcome in [Outcome::Miss, Outcome::Partial, Outcome::Partial] {
        let answer = store.get_or_compute(&view, &eurusd, until_now, |gap| desk.compute(gap)).unwrap();
        assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (outcome, 60));
    }
    assert!(store.get(&view, &eurusd, until_now).unwrap().is_none());
    assert!(store.get(&view, &eurusd, range("2024-03-15T11:00:00Z", "2024-03-15T11:59:00Z")).unwrap().is_some());
}

#[test]
fn a_range_into_the_future_is_cut_at_now() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let store = desk.open();
    let answer = store
        .get_or_compute(&view, &eurusd, range("2024-03-15T11:00:00Z", "2024-03-20"), |gap| desk.compute(gap))
        .unwrap();
    assert!(answer.is_cut());
    assert_eq!(answer.range(), range("2024-03-15T11:00:00Z", "2024-03-15T12:00:00Z"));
    assert_eq!(checked_rows(&answer, &eurusd), 60);
}

#[test]
fn an_empty_result_is_a_result() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let weekend = range("2024-03-09", "2024-03-11");
    let store = desk.open();
    let nothing = |gap: &larder::Gap| {
        gap.batch(vec![], vec![arrow::array::new_empty_array(&arrow::datatypes::DataType::Float64)])
    };
    assert_eq!(store.get_or_compute(&view, &eurusd, weekend, nothing).unwrap().num_rows(), 0);
    drop(store);
    let answer = desk.open().get_or_compute(&view, &eurusd, weekend, |gap| desk.compute(gap)).unwrap();
    assert_eq!((answer.outcome(), answer.num_rows(), desk.computes()), (Outcome::Hit, 0, 0));
}

#[test]
fn holes_between_cached_blocks_are_separate_gaps() {
    let desk = Desk::new();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let store = desk.open();
    for day in [("2024-03-02", "2024-03-03"), ("2024-03-05", "2024-03-06")] {
        store.get_or_compute(&view, &eurusd, range(day.0, day.1), |gap| desk.compute(gap)).unwrap();
    }
    let answer =
        store.get_or_compute(&view, &eurusd, range("2024-03-01", "2024-03-07"), |gap| desk.compute(gap)).unwrap();
    assert_eq!((answer.outcome(), checked_rows(&answer, &eurusd)), (Outcome::Partial, 6 * 1440));
    assert_eq!(desk.computes(), 2 + 3, "before, between and after");
}

#[test]
fn views_entities_and_versions_do_not_mix() {
    let desk = Desk::new();
    let store = desk.open();
    let day = range("2024-03-01", "2024-03-02");
    let other = |name: &str, version: &str| {
        let view = larder::FeatureView::builder(name).entity("symbol").version(version);
        view.feature("value", arrow::datatypes::DataType::Float64).build().unwrap()
    };
    for view in [other("a", "1"), other("a", "2"), other("b", "1")] {
        let answer = store.get_or_compute(&view, &symbol("EURUSD"), day, |gap| desk.compute(gap)).unwrap();
        assert_eq!(answer.outcome(), Outcome::Miss, "{view:?}");
    }
    for name in ["EURUSD", "eurusd", "EUR/USD", "../../x"] {
        let entity = symbol(name);
        let answer = store.get_or_compute(&view(), &entity, day, |gap| desk.compute(gap)).unwrap();
        assert_eq!((answer.outcome(), checked_rows(&answer, &entity)), (Outcome::Miss, 1440), "{name}");
    }
}

#[test]
fn hits_share_one_copy_of_the_rows() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd, day) = (view(), symbol("EURUSD"), range("2024-03-01", "2024-03-02"));
    let ask = |range| store.get_or_compute(&view, &eurusd, range, |gap| desk.compute(gap)).unwrap();
    let (first, second, part) = (ask(day), ask(day), ask(range("2024-03-01T06:00:00Z", "2024-03-01T07:00:00Z")));
    let address = |answer: &larder::Answer| answer.blocks()[0].batch().column(1).to_data().buffers()[0].as_ptr();
    assert_eq!(address(&first), address(&second));
    let six_hours = 6 * 60 * size_of::<f64>();
    assert_eq!(address(&first) as usize + six_hours, address(&part) as usize, "a part of a block is a slice of it");
    assert_eq!(part.num_rows(), 60);
}

#[test]
fn what_a_compute_returned_is_not_pinned_by_the_cache() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    // One batch for ten blocks: each block keeps its own rows, not all of them.
    store.get_or_compute(&view, &eurusd, range("2024-02-01", "2024-02-11"), |gap| desk.compute(gap)).unwrap();
    let rows = 10 * 1440 * 16;
    let bytes = store.memory_bytes();
    assert!((rows..2 * rows).contains(&bytes), "{bytes} bytes for {rows} bytes of rows");
}

#[test]
fn a_tail_without_news_is_not_written_again_and_again() {
    let desk = Desk::new();
    let store = desk.open();
    let (view, eurusd) = (view(), symbol("EURUSD"));
    let written = || {
        let file = crate::damage::files(&desk.dir.path().join("cache/blocks")).remove(0);
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file).unwrap())
    };
    let ask =
        || store.get_or_compute(&view, &eurusd, range("2024-03-15", "2024-03-20"), |gap| desk.compute(gap)).unwrap();
    desk.clock.advance(std::time::Duration::from_secs(1));
    let rows = ask().num_rows();
    let first = written();
    for _ in 0..5 {
        desk.clock.advance(std::time::Duration::from_secs(1));
        assert_eq!(checked_rows(&ask(), &eurusd), rows);
    }
    assert_eq!(written(), first);
    desk.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(checked_rows(&ask(), &eurusd), rows + 1, "the bar of the next minute");
    assert_ne!(written(), first);
}

/// Rows that may be others now, which its version tells.
struct Corrected(std::sync::atomic::AtomicI64);

impl Corrected {
    fn version(&self) -> i64 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl larder::Source for Corrected {
    fn compute(&self, gap: &larder::Gap) -> Result<arrow::array::RecordBatch, larder::ComputeError> {
        let (start, end) = (gap.range().start().as_ns(), gap.range().end().as_ns());
        let times: Vec<i64> = (start..end).step_by(60_000_000_000).collect();
        let values = arrow::array::Float64Array::from(vec![self.version() as f64; times.len()]);
        Ok(gap.batch(times, vec![std::sync::Arc::new(values)])?)
    }

    fn version(&self, _: &larder::Gap) -> Option<String> {
        Some(Corrected::version(self).to_string())
    }
}

#[test]
fn a_tail_whose_rows_were_corrected_is_computed_again_and_not_extended() {
    let desk = Desk::new();
    let store = desk.open();
    let source = Corrected(1.into());
    let ask = |end| {
        let answer = store.get_or_compute_from(&view(), &symbol("EURUSD"), range("2024-03-15", end), &source).unwrap();
        let batch = answer.to_batch().unwrap();
        let values = batch.column(1).as_any().downcast_ref::<arrow::array::Float64Array>().unwrap().values();
        (answer.outcome(), values.iter().map(|value| *value as i64).collect::<Vec<_>>())
    };
    assert_eq!(ask("2024-03-15T11:59:00Z"), (Outcome::Miss, vec![1; 719]));
    desk.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(ask("2024-03-15T12:09:00Z"), (Outcome::Partial, vec![1; 729]), "the same rows and more");
    source.0.store(2, std::sync::atomic::Ordering::SeqCst);
    desk.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(ask("2024-03-15T12:19:00Z"), (Outcome::Miss, vec![2; 739]));
}
