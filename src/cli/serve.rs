//! `larder serve`: metrics, health and a status page of a cache, for all processes that use it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::page::Page;
use super::report::{Printer, Report};
use super::session::Session;
use crate::cache::FeatureStore;
use crate::error::{Error, ErrorKind};
use crate::server::{Options as ServerOptions, Server, Token};

const LONG_ABOUT: &str = "\
Serve metrics, health and a status page over HTTP

The requests of every process that shares the cache directory are counted, and what they evict, invalidate, publish, \
drop or find damaged, seconds after it happened, whether those processes serve anything themselves or not. What only \
a process can know of itself (durations, running computes, memory) is in its own metrics: see \
`larder::server::router`. Let Prometheus scrape either this or the services, or all is counted twice.

It also folds the manifest and keeps the cache within its limits, as every service does.";

const EXAMPLES: &str = "\
Examples:
  larder serve
  larder serve --listen 127.0.0.1:9100
  larder serve --listen 0.0.0.0:8000 --token-file /etc/larder/token
  curl -s http://127.0.0.1:8000/metrics | grep featurestore_hit_ratio

Other machines are only answered with a token: from --token-file, or from the variable LARDER_TOKEN. They send \
it as `Authorization: Bearer …`; /health needs none.";

/// How often the wish to stop is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// Serve metrics, health and a status page over HTTP
#[derive(Debug, Args)]
#[command(long_about = LONG_ABOUT, after_help = EXAMPLES)]
pub struct Options {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// A file with the token that requests have to carry, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Where it listens.
#[derive(Debug, Serialize)]
pub struct Listening {
    cache_dir: PathBuf,
    address: SocketAddr,
    token: bool,
}

/// Serves until it is told to stop.
pub fn run(options: &Options, session: &Session, printer: Printer) -> ExitCode {
    let (store, server) = match start(options, session) {
        Ok(started) => started,
        Err(failure) => return printer.failure(&failure),
    };
    let listening = Listening {
        cache_dir: session.root.clone(),
        address: server.address(),
        token: options.token_file.is_some() || token_variable().is_some(),
    };
    let printed = printer.result(Ok(listening));
    while !session.interrupt.is_raised() {
        if server.is_finished() {
            let what = "the server ended by itself: the log says why";
            return printer.failure(&Error::new(ErrorKind::Unavailable, what).into());
        }
        std::thread::sleep(GLANCE);
    }
    drop(server);
    drop(store);
    printed
}

fn start(options: &Options, session: &Session) -> Result<(FeatureStore, Server), Failure> {
    let token = match &options.token_file {
        Some(file) => Some(Token::read(file)?),
        None => token_variable().map(|text| Token::new(&text)).transpose()?,
    };
    let server = ServerOptions { listen: options.listen, token, ..ServerOptions::default() };
    // Before the cache is opened: a refused address should leave nothing behind.
    server.validate()?;
    let store = FeatureStore::builder(&session.root).settings(session.settings.clone()).observe_others().open()?;
    let server = Server::start(&store, server)?;
    Ok((store, server))
}

fn token_variable() -> Option<String> {
    std::env::var("LARDER_TOKEN").ok().filter(|token| !token.is_empty())
}

impl Report for Listening {
    fn write(&self, page: &mut Page) {
        page.verbatim(&format!("Cache      {}", self.cache_dir.display()));
        page.field("Page", &format!("http://{}/", self.address));
        page.field("Metrics", &format!("http://{}/metrics", self.address));
        page.field(
            "Guard",
            if self.token { "a bearer token, /health aside" } else { "none: only this machine can connect" },
        );
        page.field("Stop", "Ctrl-C");
    }

    fn exit(&self) -> Exit {
        Exit::Good
    }
}
