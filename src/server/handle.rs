//! A server on threads of its own, for programs that are not asynchronous.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::accept::serve;
use super::options::Options;
use crate::cache::FeatureStore;
use crate::error::{Error, ErrorKind, Result};

/// How long reads that nobody waits for any more may go on.
const PATIENCE: Duration = Duration::from_millis(200);

/// Answers on threads of its own until it is dropped, which lets running requests end.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and begins to answer.
    ///
    /// # Errors
    /// `Invalid` for an address that needs a token; `Unavailable` where nobody can listen there.
    pub fn start(store: &FeatureStore, options: Options) -> Result<Self> {
        options.validate()?;
        let failed = |error: std::io::Error| {
            let hint = match error.kind() {
                std::io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another port",
                std::io::ErrorKind::PermissionDenied => "ports below 1024 are for root: choose another one",
                _ => "choose an address of this machine",
            };
            Error::with_source(ErrorKind::Unavailable, format!("cannot listen on {}: {hint}", options.listen), error)
        };
        // Bound here, so that the caller hears of a port that is taken; the runtime lives on its own thread,
        // because whoever calls this from within another one could neither block on it nor drop it.
        let listener = std::net::TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let (store, serving) = (store.clone(), options.clone());
        let thread = std::thread::Builder::new()
            .name("larder-server".to_owned())
            .spawn(move || {
                if let Err(error) = run(listener, store, serving, stopped) {
                    tracing::error!(target: "larder::server", %error, "the server could not start");
                }
            })
            .map_err(failed)?;
        tracing::info!(target: "larder::server", %address, "listening");
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Whether it has ended by itself, which it does only where it could not start.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn run(
    listener: std::net::TcpListener,
    store: FeatureStore,
    options: Options,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_name("larder-server")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        serve(listener, store, options, stop).await;
        Ok::<(), std::io::Error>(())
    })?;
    // A reader that waits for the manifest is not waited for.
    runtime.shutdown_timeout(PATIENCE);
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody listens any more where the thread has ended already.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
