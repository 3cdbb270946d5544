//! What Larder promises, tested from outside: one module per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "tests"
)]

#[cfg(all(feature = "cli", feature = "server"))]
mod agreement;
#[cfg(feature = "async")]
mod asynchronous;
mod bad_luck;
#[cfg(feature = "server")]
mod browser;
#[path = "../../src/checkout.rs"]
mod checkout;
mod cleaning;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod cli_definitions;
#[cfg(feature = "cli")]
mod cli_demo;
#[cfg(feature = "cli")]
mod cli_health;
#[cfg(feature = "cli")]
mod cli_sql;
#[cfg(feature = "cli")]
mod cli_upkeep;
#[cfg(feature = "cli")]
mod cli_usage;
mod coherence;
mod counting;
#[cfg(feature = "definitions")]
mod crash;
mod damage;
mod dashboard;
mod desk;
mod directory;
mod failures;
mod flights;
mod freshness;
#[cfg(all(feature = "cli", feature = "server"))]
mod gameday;
#[cfg(feature = "server")]
mod http;
mod journals;
mod metrics_page;
#[cfg(feature = "server")]
mod month;
#[path = "../../src/mutate.rs"]
mod mutate;
#[cfg(all(feature = "cli", feature = "server"))]
mod others;
#[cfg(feature = "server")]
mod page;
#[cfg(all(feature = "cli", feature = "server"))]
mod panels;
#[cfg(feature = "planted")]
mod planted;
#[cfg(all(feature = "cli", feature = "postgres"))]
mod postgres;
mod processes;
#[cfg(feature = "definitions")]
mod pushes;
mod readers;
mod requests;
mod rules;
#[cfg(all(feature = "cli", feature = "server"))]
mod runbook;
mod security;
#[cfg(feature = "server")]
mod server;
mod tools;
mod worker;
