//! Metrics, health and a status page over HTTP: for Prometheus, load balancers and people.
//!
//! A service mounts [`router`] in its own axum application, or starts a [`Server`] of its own, which
//! also guards the endpoints: a limit of connections, time limits for headers and requests, no bodies,
//! and a bearer token wherever others than this machine can connect.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! let store = larder::FeatureStore::builder(dir.path().join("cache")).open()?;
//! let app: axum::Router = axum::Router::new().nest("/larder", larder::server::router(store));
//! # drop(app);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | path | |
//! |---|---|
//! | `/` | the status page |
//! | `/metrics` | what Prometheus scrapes |
//! | `/health` | 200 while the process lives; never asks for the token |
//! | `/ready` | 200 while the cache can be written, folded and has room; otherwise 503, and what is wrong. A service with such a cache still answers by computing: `/health` decides who gets traffic |
//! | `/slo` | what `larder slo --json` prints; `?view=NAME` for one view |
//! | `/blocks` | what is cached: `?view=&entity=&day=&limit=&after=` |

mod accept;
mod answer;
mod gate;
mod handle;
mod options;
pub mod page;
mod ready;
mod router;

pub use handle::Server;
pub use options::{Options, Token};
pub use router::router;
