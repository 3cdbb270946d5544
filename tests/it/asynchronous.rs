//! The store for asynchronous services.

use std::time::Duration;

use larder::{AsyncFeatureStore, Gap, Outcome};

use crate::desk::{Desk, checked_rows, minutes, range, symbol, view};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_ask_for_one_key_cause_one_compute_and_hits_are_counted() {
    let desk = Desk::new();
    let store = AsyncFeatureStore::new(desk.open());
    let day = range("2024-03-01", "2024-03-02");
    let ask = || {
        let store = store.clone();
        async move {
            let compute = |gap: Gap| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                minutes(&gap)
            };
            let answer = store.get_or_compute(&view(), &symbol("EURUSD"), day, compute).await.unwrap();
            assert_eq!(checked_rows(&answer, &symbol("EURUSD")), 1440);
            answer.outcome()
        }
    };
    let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(ask())).collect();
    let mut misses = 0;
    for task in tasks {
        misses += usize::from(task.await.unwrap() == Outcome::Miss);
    }
    assert_eq!((misses, ask().await), (1, Outcome::Hit));
    assert_eq!(store.inner().slo().budget.requests, 17);
    assert_eq!(store.invalidate(&view(), &symbol("EURUSD"), day).await.unwrap(), 1);
    assert!(store.get(&view(), &symbol("EURUSD"), day).await.unwrap().is_none());
}
