//! The store for asynchronous services: a thin layer over the synchronous one.

use std::future::Future;

use arrow::array::RecordBatch;

use super::answer::Answer;
use super::gap::{ComputeError, Gap};
use super::store::FeatureStore;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{EntityKey, FeatureView, TimeRange};

/// A [`FeatureStore`] whose calls do not block the runtime's threads.
///
/// A hit in memory answers at once on the calling task; everything else runs on tokio's blocking
/// pool, which is also where waiting for another request's compute happens. Dropping the future does
/// not stop a compute that has begun: others may be waiting for it, and its result is kept.
#[derive(Clone)]
pub struct AsyncFeatureStore(FeatureStore);

impl AsyncFeatureStore {
    /// Wraps a store. Both are the same store.
    pub fn new(store: FeatureStore) -> Self {
        Self(store)
    }

    /// The synchronous store.
    pub fn inner(&self) -> &FeatureStore {
        &self.0
    }

    /// As [`FeatureStore::get_or_compute`], with a compute that returns a future.
    ///
    /// # Errors
    /// As [`FeatureStore::get_or_compute`]; `Unavailable` where the runtime is shutting down.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn get_or_compute<F, Fut, E>(
        &self,
        view: &FeatureView,
        entity: &EntityKey,
        range: TimeRange,
        mut compute: F,
    ) -> Result<Answer>
    where
        F: FnMut(Gap) -> Fut + Send + 'static,
        Fut: Future<Output = Result<RecordBatch, E>> + Send,
        E: Into<ComputeError>,
    {
        if let Some(answer) = self.0.hit_in_memory(view, entity, range)? {
            return Ok(answer);
        }
        let runtime = tokio::runtime::Handle::current();
        let (view, entity) = (view.clone(), entity.clone());
        self.blocking(move |store| {
            store.get_or_compute(&view, &entity, range, |gap| runtime.block_on(compute(gap.clone())))
        })
        .await
    }

    /// As [`FeatureStore::get`].
    ///
    /// # Errors
    /// As [`FeatureStore::get`]; `Unavailable` where the runtime is shutting down.
    pub async fn get(&self, view: &FeatureView, entity: &EntityKey, range: TimeRange) -> Result<Option<Answer>> {
        let (view, entity) = (view.clone(), entity.clone());
        self.blocking(move |store| store.get(&view, &entity, range)).await
    }

    /// As [`FeatureStore::invalidate`].
    ///
    /// # Errors
    /// As [`FeatureStore::invalidate`]; `Unavailable` where the runtime is shutting down.
    pub async fn invalidate(&self, view: &FeatureView, entity: &EntityKey, range: TimeRange) -> Result<u64> {
        let (view, entity) = (view.clone(), entity.clone());
        self.blocking(move |store| store.invalidate(&view, &entity, range)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FeatureStore) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.0.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.unwrap_or_else(|error| {
            Err(Error::with_source(ErrorKind::Unavailable, "the runtime ended before the request did", error))
        })
    }
}
