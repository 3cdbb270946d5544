//! Accepting connections, with the limits that `axum::serve` does not have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::{self, Next};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer;
use super::options::Options;
use super::router::{count, router};
use crate::cache::FeatureStore;
use crate::metrics::catalogue;
use crate::repeats::Repeats;

/// What a request's line and headers may take.
const HEADER_BYTES: usize = 16 * 1024;
/// How long requests that run may go on after the server was told to stop.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// After a failed accept, mostly for want of file descriptors, which others give back.
const PAUSE: Duration = Duration::from_millis(50);

/// Everything a connection needs.
struct Shared {
    store: FeatureStore,
    options: Options,
}

impl Shared {
    fn rejected(&self, reason: &str) {
        self.store.recorder().add(&catalogue::HTTP_REJECTED, &[reason], 1.0);
    }
}

/// Serves until `stop` changes, then lets running requests end.
pub async fn serve(listener: TcpListener, store: FeatureStore, options: Options, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(options.max_connections));
    let shared = Arc::new(Shared { store: store.clone(), options });
    let router = router(store).layer(middleware::from_fn_with_state(Arc::clone(&shared), guard));
    let repeats = Repeats::default();
    let most = u32::try_from(shared.options.max_connections).unwrap_or(u32::MAX);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.map(|(stream, _)| stream),
            _ = stop.changed() => break,
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                shared.rejected("accept");
                if let Some(left_out) = repeats.left_out("accept") {
                    tracing::warn!(target: "larder::server", %error, left_out, "a connection could not be accepted");
                }
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => continue,
                    _ = stop.changed() => break,
                }
            }
        };
        match Arc::clone(&room).try_acquire_owned() {
            Ok(permit) => connect(stream, permit, &router, &shared, stop.clone()),
            Err(_) => {
                shared.rejected("connections");
                turn_away(&stream);
            }
        }
    }
    drop(listener);
    // All permits are back once every connection has ended.
    if tokio::time::timeout(LAST_ANSWERS, room.acquire_many(most)).await.is_err() {
        tracing::warn!(target: "larder::server", "requests that did not end in time were cut off");
    }
}

/// Says so in one packet, without waiting for anybody.
fn turn_away(stream: &TcpStream) {
    let answer =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    // Whoever cannot take it is turned away all the same.
    let _ = stream.try_write(answer);
}

fn connect(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: &Router,
    shared: &Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.options.header_timeout)
        .max_buf_size(HEADER_BYTES)
        .half_close(false);
    let asked = Arc::new(AtomicBool::new(false));
    let (service, asking) = (TowerToHyperService::new(router.clone()), Arc::clone(&asked));
    let service = hyper::service::service_fn(move |request| {
        // Relaxed: only a counter depends on it.
        asking.store(true, Ordering::Relaxed);
        service.call(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let _permit = permit;
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Ok(ended),
            () = ended_or_old(&mut stop, shared.options.connection_lifetime) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(shared.options.request_timeout, connection).await
            }
        };
        match ended {
            // A connection that was used and is idle ends like this too: nothing is wrong with it.
            Ok(Err(error)) if error.is_timeout() => {
                if !asked.load(Ordering::Relaxed) {
                    shared.rejected("slow_header");
                }
            }
            Ok(Err(error)) => tracing::debug!(target: "larder::server", %error, "a connection broke"),
            Ok(Ok(())) => {}
            Err(_) => shared.rejected("slow_request"),
        }
    });
}

/// Until the server is to stop, or the connection is old enough.
async fn ended_or_old(stop: &mut watch::Receiver<bool>, lifetime: Duration) {
    // Both ends mean the same, and so does a sender that is gone.
    let _ = tokio::time::timeout(lifetime, stop.changed()).await;
}

/// Asks for the token, and ends what takes too long.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let is_open = path == "/health";
    if let Some(token) = shared.options.token.as_ref().filter(|_| !is_open) {
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if !given.is_some_and(|given| token.is(given)) {
            shared.rejected("token");
            count(shared.store.recorder(), &path, StatusCode::UNAUTHORIZED);
            let message = "give the token of this server as `Authorization: Bearer …`";
            let mut response = answer::failure(StatusCode::UNAUTHORIZED, "unauthorized", message);
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
    }
    match tokio::time::timeout(shared.options.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            shared.rejected("slow_request");
            count(shared.store.recorder(), &path, StatusCode::SERVICE_UNAVAILABLE);
            let message = "the answer took too long: the manifest may be held by another program";
            answer::failure(StatusCode::SERVICE_UNAVAILABLE, "busy", message)
        }
    }
}
