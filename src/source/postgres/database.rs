//! Connections, and one state of the database per reading.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, IsolationLevel, Row, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::select::Select;
use super::value::found;
use super::wait::wait;
use crate::definition::{Environment, Postgres, PostgresRows, SourceDefinition};
use crate::error::{Error, ErrorKind, Result};
use crate::model::SourceName;
use crate::source::column::Sample;
use crate::sql::quoted;

/// Connections kept for the next reading.
const KEPT: usize = 4;
/// How often those are closed that were not used meanwhile.
const UNUSED: Duration = Duration::from_secs(15);
/// Rows that are fetched at once.
const FETCHED: i32 = 16_384;
/// How long a server that fell silent may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A database, and what is read from it. A thread that reads has a connection of its own.
pub struct Database {
    pub(super) source: SourceName,
    /// What messages call the server and its database.
    pub(super) server: String,
    /// What messages call what is read.
    pub(super) place: String,
    /// It as SQL wants it behind `FROM`.
    pub(super) relation: String,
    pub(super) limits: Limits,
    config: Config,
    tls: MakeRustlsConnect,
    idle: Arc<Mutex<Idle>>,
    is_unreachable: AtomicBool,
}

/// How long things may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) statement: Duration,
}

#[derive(Default)]
struct Idle {
    connections: Vec<Connection>,
    /// Whether a task closes those that are not used.
    watched: bool,
}

struct Connection {
    client: Client,
    /// What moves its bytes. It ends when the client is dropped and the server has heard of it.
    task: JoinHandle<()>,
    used: Instant,
}

/// One state of the database, for as long as it is read.
pub struct Session<'a> {
    transaction: Transaction<'a>,
    database: &'a Database,
}

impl Database {
    /// Asks nothing of the server yet.
    ///
    /// # Errors
    /// `Invalid` where a variable of the URL is not set, or it is no URL.
    pub fn open(source: &SourceDefinition, postgres: &Postgres, environment: &Environment) -> Result<Self> {
        let invalid = |what: String| Error::invalid(format!("source {}: {what}", source.name));
        let url = postgres.url.expand(environment).map_err(|error| invalid(error.to_string()))?;
        // The cause is left out: where a password is not escaped, it may repeat a part of it.
        let mut config: Config = url.reveal().parse().map_err(|_| {
            invalid(
                "its url cannot be read: write postgres://USER:${PASSWORD}@HOST:PORT/DATABASE?sslmode=require; sslmode \
                 is disable, prefer or require, and in a variable that holds a whole URL the password is escaped"
                    .to_owned(),
            )
        })?;
        if config.get_application_name().is_none() {
            config.application_name("larder");
        }
        config.keepalives_idle(UNUSED);
        let (place, relation) = match &postgres.rows {
            PostgresRows::Table(name) => {
                let parts: Vec<_> = name.split('.').map(quoted).collect();
                (format!("table {name}"), parts.join("."))
            }
            PostgresRows::Query(sql) => {
                let sql = sql.trim().trim_end_matches(';');
                // A comment at its end is over at the end of its line.
                ("its query".to_owned(), format!("({sql}\n) AS rows"))
            }
        };
        Ok(Self {
            source: source.name.clone(),
            server: server(&config),
            place,
            relation,
            limits: Limits { connect: postgres.connect_timeout, statement: postgres.statement_timeout },
            tls: tls(config.get_ssl_mode()).map_err(|error| invalid(error.to_string()))?,
            config,
            idle: Arc::default(),
            is_unreachable: AtomicBool::new(false),
        })
    }

    /// Whether the last attempt to connect failed.
    pub fn is_unreachable(&self) -> bool {
        self.is_unreachable.load(Ordering::Relaxed)
    }

    /// Which columns there are now.
    pub fn sample(&self) -> Result<Sample> {
        self.read(async |session| session.sample().await)
    }

    /// What `work` makes of one state of the database.
    pub fn read<T>(&self, work: impl AsyncFnOnce(&Session<'_>) -> Result<T>) -> Result<T> {
        wait(async {
            let mut connection = self.connection().await?;
            let done = self.transact(&mut connection.client, work).await;
            match done {
                Ok(_) => self.keep(connection),
                Err(_) => connection.close().await,
            }
            done
        })
    }

    async fn transact<T>(&self, client: &mut Client, work: impl AsyncFnOnce(&Session<'_>) -> Result<T>) -> Result<T> {
        let begin = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start();
        let session = Session { transaction: self.answer(begin).await?, database: self };
        // What a query makes of times must not depend on who asks.
        let limit = i32::try_from(self.limits.statement.as_millis()).unwrap_or(i32::MAX).max(1);
        let settings = format!("SET LOCAL statement_timeout = {limit}; SET LOCAL TIME ZONE 'UTC'");
        self.answer(session.transaction.batch_execute(&settings)).await?;
        let done = work(&session).await?;
        self.answer(session.transaction.commit()).await?;
        Ok(done)
    }

    /// A connection that was kept and is still alive, or a new one.
    async fn connection(&self) -> Result<Connection> {
        let kept = self.idle().connections.pop();
        if let Some(kept) = kept {
            if let Ok(Ok(())) = timeout(self.limits.connect, kept.client.check_connection()).await {
                self.is_unreachable.store(false, Ordering::Relaxed);
                return Ok(kept);
            }
            // What befell one befell all: the server was restarted.
            self.idle().connections.clear();
            kept.task.abort();
        }
        let connected = match timeout(self.limits.connect, self.config.connect(self.tls.clone())).await {
            Ok(connected) => connected.map_err(|error| self.failure(&error)),
            Err(_) => Err(self.silent(self.limits.connect)),
        };
        // Relaxed: it stands for itself. A server that refuses is there.
        let is_away = connected.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable);
        self.is_unreachable.store(is_away, Ordering::Relaxed);
        let (client, connection) = connected?;
        let task = tokio::spawn(async { drop(connection.await) });
        Ok(Connection { client, task, used: Instant::now() })
    }

    fn keep(&self, mut connection: Connection) {
        connection.used = Instant::now();
        let mut idle = self.idle();
        if idle.connections.len() < KEPT {
            idle.connections.push(connection);
        }
        if !idle.watched {
            idle.watched = true;
            tokio::spawn(close_unused(Arc::downgrade(&self.idle)));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the server answers. It stops a statement by itself; that it does not answer at all is seen here.
    async fn answer<T>(&self, asked: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T> {
        let limit = self.limits.statement.saturating_add(self.limits.connect);
        timeout(limit, asked).await.map_err(|_| self.silent(limit))?.map_err(|error| self.failure(&error))
    }
}

impl Connection {
    async fn close(self) {
        drop(self.client);
        let moving = self.task.abort_handle();
        if timeout(GOODBYE, self.task).await.is_err() {
            moving.abort();
        }
    }
}

async fn close_unused(idle: Weak<Mutex<Idle>>) {
    loop {
        sleep(UNUSED).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.connections.retain(|connection| connection.used.elapsed() < UNUSED);
        if idle.connections.is_empty() {
            idle.watched = false;
            return;
        }
    }
}

impl Session<'_> {
    /// The columns of what is read. They stay as they are until the session ends.
    pub async fn sample(&self) -> Result<Sample> {
        let sql = format!("SELECT * FROM {}", self.database.relation);
        let statement = self.database.answer(self.transaction.prepare(&sql)).await?;
        let columns = statement.columns().iter().map(|column| (column.name().to_owned(), found(column.type_())));
        Ok(Sample { place: self.database.place.clone(), columns: columns.collect() })
    }

    /// Gives the rows of a `SELECT` to `take`, some thousands at a time.
    pub async fn ask(&self, select: &Select, mut take: impl FnMut(&[Row]) -> Result<()>) -> Result<()> {
        let types: Vec<_> = select.values.iter().map(|value| value.sql_type()).collect();
        let statement = self.database.answer(self.transaction.prepare_typed(&select.sql, &types)).await?;
        let values: Vec<_> = select.values.iter().map(|value| value as _).collect();
        let portal = self.database.answer(self.transaction.bind(&statement, &values)).await?;
        loop {
            let rows = self.database.answer(self.transaction.query_portal(&portal, FETCHED)).await?;
            take(&rows)?;
            if i32::try_from(rows.len()) != Ok(FETCHED) {
                return Ok(());
            }
        }
    }
}

/// The server and the database without user and password.
fn server(config: &Config) -> String {
    let named = |(at, host): (usize, &Host)| match host {
        Host::Tcp(name) => {
            let ports = config.get_ports();
            format!("{name}:{}", ports.get(at).or(ports.first()).copied().unwrap_or(5432))
        }
        Host::Unix(path) => path.display().to_string(),
    };
    let hosts: Vec<_> = config.get_hosts().iter().enumerate().map(named).collect();
    format!("PostgreSQL at {}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}

/// A certificate is always checked, against those that this machine trusts.
fn tls(mode: SslMode) -> Result<MakeRustlsConnect, rustls::Error> {
    let mut trusted = RootCertStore::empty();
    if mode != SslMode::Disable {
        trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
