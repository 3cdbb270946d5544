//! The endpoints.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{OriginalUri, Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use super::answer;
use super::gate::Gate;
use super::page::{render, render_silent};
use super::ready::Readiness;
use crate::cache::FeatureStore;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::{self, BlocksRequest, Requests, SilentFacts, SloFacts, StatusFacts};
use crate::metrics::{Recorder, catalogue};
use crate::model::ViewName;

/// What there is, as the catalogue has it.
pub(super) fn endpoints() -> impl Iterator<Item = &'static str> {
    catalogue::PATHS.iter().copied().filter(|path| *path != catalogue::OTHER_PATH)
}

/// What every endpoint works with.
#[derive(Clone)]
pub(super) struct App {
    store: FeatureStore,
    /// Exports take a processor and no lock.
    exports: Gate,
    /// The others read the manifest, which one at a time can do.
    reads: Gate,
    /// Of its own, so that no page keeps it waiting.
    readiness: Gate,
}

type Parameters = Query<BTreeMap<String, String>>;

/// The endpoints of [the module](super) for one store, to be mounted in an axum application.
///
/// They read on tokio's blocking threads, a few at a time, and send the rest away with 503. Who may
/// ask, and how long a client may take to do so, is up to whoever serves it: [`Server`](super::Server)
/// has limits for both.
pub fn router(store: FeatureStore) -> Router {
    let app = App { store, exports: Gate::new(2, 64), reads: Gate::new(1, 16), readiness: Gate::new(1, 16) };
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/slo", get(slo))
        .route("/blocks", get(blocks))
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(app.clone(), check))
        .with_state(app)
}

/// Counts an answer.
pub(super) fn count(recorder: &dyn Recorder, path: &str, status: StatusCode) {
    let path = endpoints().find(|known| *known == path).unwrap_or(catalogue::OTHER_PATH);
    let status = match status.as_u16() {
        ..400 => "2xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    recorder.add(&catalogue::HTTP_REQUESTS, &[path, status], 1.0);
}

/// Counts the answer, and refuses a body: nothing here takes one.
async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = if has_body(request.headers()) {
        app.rejected("body");
        answer::failure(StatusCode::PAYLOAD_TOO_LARGE, "invalid", "these endpoints take no body: send none")
    } else {
        next.run(request).await
    };
    count(app.store.recorder(), &path, response.status());
    response
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).map(|length| length.as_bytes() != b"0");
    headers.contains_key(TRANSFER_ENCODING) || length.unwrap_or(false)
}

impl App {
    fn rejected(&self, reason: &str) {
        self.store.recorder().add(&catalogue::HTTP_REJECTED, &[reason], 1.0);
    }

    /// Does what takes a while on a thread that may wait.
    async fn work<T: Send + 'static>(
        &self,
        gate: &Gate,
        work: impl FnOnce(&FeatureStore) -> T + Send + 'static,
    ) -> Result<T, Response> {
        let Some(entered) = gate.enter().await else {
            self.rejected("overload");
            let message = "too many ask at once: try again in a second";
            return Err(answer::failure(StatusCode::SERVICE_UNAVAILABLE, "busy", message));
        };
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Until the work is done, and not only until the client has gone.
            let _entered = entered;
            work(&store)
        });
        let failed = |_| answer::failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer could not be made");
        done.await.map_err(failed)
    }

    /// The same for facts, which are answered as JSON.
    async fn facts<T: serde::Serialize + Send + 'static>(
        &self,
        work: impl FnOnce(&FeatureStore) -> Result<T> + Send + 'static,
    ) -> Response {
        match self.work(&self.reads, work).await {
            Ok(Ok(facts)) => answer::json(StatusCode::OK, &facts),
            Ok(Err(error)) => answer::error(&error),
            Err(response) => response,
        }
    }
}

async fn metrics(State(app): State<App>) -> Response {
    match app.work(&app.exports, FeatureStore::metrics_text).await {
        Ok(Some(text)) => answer::metrics(text),
        Ok(None) => {
            let message = "this store's recorder exports in another way: ask there";
            answer::failure(StatusCode::NOT_IMPLEMENTED, "not_found", message)
        }
        Err(response) => response,
    }
}

async fn health() -> Response {
    answer::json(StatusCode::OK, &json!({ "status": "alive", "version": env!("CARGO_PKG_VERSION") }))
}

async fn ready(State(app): State<App>) -> Response {
    match app.work(&app.readiness, Readiness::of).await {
        Ok(readiness) if readiness.ready => answer::json(StatusCode::OK, &readiness),
        Ok(readiness) => answer::json(StatusCode::SERVICE_UNAVAILABLE, &readiness),
        Err(response) => response,
    }
}

async fn slo(State(app): State<App>, Query(parameters): Parameters) -> Response {
    app.facts(move |store| {
        only(&parameters, &["view"])?;
        let view = parameters.get("view").map(|view| ViewName::new(view)).transpose()?;
        // What this process has counted and not told yet belongs to it.
        store.flush();
        let now = store.now();
        let requests = store.manifest().read(|query| Requests::read(query, view.as_ref(), now))?;
        if let Some(view) = view.as_ref().filter(|view| !requests.views.contains(view)) {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no view {view} in this cache")));
        }
        Ok(SloFacts::new(&requests, &store.settings().slo, now))
    })
    .await
}

async fn blocks(State(app): State<App>, Query(parameters): Parameters) -> Response {
    app.facts(move |store| {
        let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request = BlocksRequest::parse(parameters)?;
        store.manifest().read(|query| inspect::blocks(query, &request))
    })
    .await
}

async fn page(State(app): State<App>, OriginalUri(uri): OriginalUri) -> Response {
    let read = |store: &FeatureStore| {
        store.flush();
        let (dir, settings, now) = (store.cache_dir(), store.settings(), store.now());
        StatusFacts::gather(dir, store.manifest(), &settings, now)
            .map_err(|error| (answer::status(&error), SilentFacts::gather(error, dir, &settings, now)))
    };
    match app.work(&app.reads, read).await {
        Ok(Ok(facts)) => answer::html(StatusCode::OK, render(&facts, uri.path())),
        Ok(Err((status, facts))) => answer::html(status, render_silent(&facts, uri.path())),
        Err(response) => response,
    }
}

async fn unknown() -> Response {
    let message = format!("there is nothing here; there are {}", endpoints().collect::<Vec<_>>().join(", "));
    answer::failure(StatusCode::NOT_FOUND, "not_found", &message)
}

/// Refuses parameters that are not known, because a mistyped one would change the answer unseen.
fn only(parameters: &BTreeMap<String, String>, known: &[&str]) -> Result<()> {
    match parameters.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            Err(Error::invalid(format!("unknown parameter {name:?}: the parameters are {}", known.join(", "))))
        }
        None => Ok(()),
    }
}
