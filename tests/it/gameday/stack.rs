//! Prometheus and Alertmanager with the shipped files, on ports and in a directory of their own.

use std::collections::{BTreeSet, HashSet};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http;
use super::hurry::hurry;
use super::webhook::Webhook;
use crate::checkout;
use crate::tools::{mortal, tool};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Asks until there is an answer, and panics with what was said last when there is none.
pub fn until<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) if Instant::now() > deadline => panic!("waited {patience:?} for {what}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A port that nobody has now, and nobody else in this process gets.
pub fn free_address() -> SocketAddr {
    static GIVEN: LazyLock<Mutex<HashSet<SocketAddr>>> = LazyLock::new(Mutex::default);
    loop {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        if GIVEN.lock().unwrap().insert(address) {
            return address;
        }
    }
}

/// A child process that ends when it is dropped, or when the thread that started it does, even by a signal.
pub struct Process(Child);

impl Process {
    pub fn start(program: &Path, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = mortal(program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        prepare(&mut command);
        Self(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display())))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().unwrap()
    }

    /// Whether it runs and is not stopped.
    pub fn listens(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| !"TtZX".contains(state))
    }

    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()]).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The programs of a stack, or `None` with a message where one is missing.
pub struct Programs {
    prometheus: PathBuf,
    alertmanager: PathBuf,
}

impl Programs {
    pub fn find() -> Option<Self> {
        // Debian has a name of its own for it.
        let names = ["alertmanager", "prometheus-alertmanager"];
        let exists = |name: &&str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
        };
        let alertmanager = tool(names.into_iter().find(exists).unwrap_or("alertmanager"))?;
        Some(Self { prometheus: tool("prometheus")?, alertmanager })
    }
}

pub fn shipped(path: &str) -> String {
    let path = checkout::path(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether the rules are those that are shipped, or those in a hurry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    Real,
    Hurry,
}

/// What Prometheus does each minute, and for how long it takes an old sample for the present, 5 minutes.
const DEFAULTS_IN_A_HURRY: &[&str] = &["--rules.alert.resend-delay=1s", "--query.lookback-delta=5s"];

/// The longest time between two scrapes of such a stack, as a setting; on a busy machine a few are late.
pub const SCRAPED: (&str, &str) = ("LARDER_METRICS__SCRAPE_INTERVAL", "1s");

/// What watches a feature store at `target`.
pub struct Stack {
    // Before the directory in which they write.
    _prometheus: Process,
    _alertmanager: Process,
    dir: tempfile::TempDir,
    pub webhook: Webhook,
    pub target: SocketAddr,
    pub prometheus: SocketAddr,
    pub alertmanager: SocketAddr,
}

impl Stack {
    /// Starts both and waits until they are ready.
    pub fn start(programs: &Programs, target: SocketAddr, pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let webhook = Webhook::listen();
        let (prometheus, alertmanager) = (free_address(), free_address());
        let paced = |text: &str, numbers| if pace == Pace::Hurry { hurry(text, numbers) } else { text.to_owned() };
        let config = shipped("alerts/prometheus.yml");
        let config = replaced(&config, "127.0.0.1:9093", &alertmanager.to_string());
        let config = replaced(&config, "127.0.0.1:8000", &target.to_string());
        // Scrapes are frequent in either case: a test of a quarter of a minute has to see something.
        std::fs::write(dir.path().join("prometheus.yml"), hurry(&config, false)).unwrap();
        std::fs::write(dir.path().join("recording.yml"), paced(&shipped("alerts/recording.yml"), false)).unwrap();
        std::fs::write(dir.path().join("alerts.yml"), paced(&shipped("alerts/alerts.yml"), true)).unwrap();
        let receivers = shipped("alerts/alertmanager.yml").replace("127.0.0.1:9095", &webhook.address().to_string());
        std::fs::write(dir.path().join("alertmanager.yml"), paced(&receivers, false)).unwrap();
        let alertmanager_process = Process::start(&programs.alertmanager, |command| {
            let at = |file: &str| dir.path().join(file).display().to_string();
            command
                .arg(format!("--config.file={}", at("alertmanager.yml")))
                .arg(format!("--storage.path={}", at("alertmanager")))
                .arg(format!("--web.listen-address={alertmanager}"))
                .arg("--cluster.listen-address=")
                .stderr(std::fs::File::create(at("alertmanager.log")).unwrap());
        });
        let ready = |name: &str, address| {
            until(name, PATIENCE, || match http::get(address, "/-/ready") {
                Ok((200, _)) => Ok(()),
                Ok((status, _)) => Err(format!("status {status}")),
                Err(error) => {
                    let log = std::fs::read_to_string(dir.path().join(format!("{name}.log")));
                    Err(format!("{error}: {}", log.unwrap_or_default()))
                }
            });
        };
        // First the one that is told: what Prometheus cannot deliver it says again only later.
        ready("alertmanager", alertmanager);
        let prometheus_process = Process::start(&programs.prometheus, |command| {
            let at = |file: &str| dir.path().join(file).display().to_string();
            command
                .arg(format!("--config.file={}", at("prometheus.yml")))
                .arg(format!("--storage.tsdb.path={}", at("prometheus")))
                .arg(format!("--web.listen-address={prometheus}"))
                .args(["--web.enable-lifecycle", "--log.level=warn"])
                .args(if pace == Pace::Hurry { DEFAULTS_IN_A_HURRY } else { &[] })
                .stderr(std::fs::File::create(at("prometheus.log")).unwrap());
        });
        ready("prometheus", prometheus);
        Self {
            _prometheus: prometheus_process,
            _alertmanager: alertmanager_process,
            dir,
            webhook,
            target,
            prometheus,
            alertmanager,
        }
    }

    /// The configuration of Prometheus.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("prometheus.yml")
    }

    pub fn reload(&self) {
        let (status, body) = http::ask("POST", self.prometheus, "/-/reload").unwrap();
        assert_eq!(status, 200, "{body}");
    }

    /// Every series of an instant query: its labels and its value.
    pub fn query(&self, expr: &str) -> Vec<(Value, f64)> {
        self.ask(expr, "")
    }

    /// The same as it would have been then, in seconds since the epoch.
    pub fn query_at(&self, expr: &str, time: f64) -> Vec<(Value, f64)> {
        self.ask(expr, &format!("&time={time}"))
    }

    fn ask(&self, expr: &str, more: &str) -> Vec<(Value, f64)> {
        let path = format!("/api/v1/query?query={}{more}", http::escaped(expr));
        let (status, body) = http::get(self.prometheus, &path).unwrap();
        assert_eq!(status, 200, "{expr}: {body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let series = answer["data"]["result"].as_array().unwrap();
        series
            .iter()
            .map(|series| (series["metric"].clone(), series["value"][1].as_str().unwrap().parse().unwrap()))
            .collect()
    }

    /// The only value of an instant query, if there is one.
    pub fn value(&self, expr: &str) -> Option<f64> {
        let series = self.query(expr);
        assert!(series.len() < 2, "{expr} has {} series", series.len());
        series.first().map(|(_, value)| *value)
    }

    /// The alerts that fire now, the watchdog left out.
    pub fn firing(&self) -> BTreeSet<Alert> {
        self.alerts("ALERTS{alertstate=\"firing\"}")
    }

    /// The alerts that fire or will soon, the watchdog left out.
    pub fn pending(&self) -> BTreeSet<Alert> {
        self.alerts("ALERTS")
    }

    /// The alerts that fired at any time, the watchdog left out.
    pub fn fired(&self) -> BTreeSet<Alert> {
        self.alerts("count_over_time(ALERTS{alertstate=\"firing\"}[1h])")
    }

    fn alerts(&self, expr: &str) -> BTreeSet<Alert> {
        self.query(expr).iter().map(|(labels, _)| Alert::of(labels)).filter(|alert| alert.0 != WATCHDOG).collect()
    }
}

pub const WATCHDOG: &str = "FeatureStoreWatchdog";

/// An alert by its name, and by the label that tells two rules of one name apart: its window, cause or escalation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alert(pub String);

impl Alert {
    pub fn of(labels: &Value) -> Self {
        let name = labels["alertname"].as_str().unwrap();
        match ["window", "cause", "escalation"].iter().find_map(|label| labels[*label].as_str()) {
            Some(which) => Self(format!("{name}/{which}")),
            None => Self(name.to_owned()),
        }
    }
}

/// With the one place replaced, which has to be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} should be there once");
    text.replace(from, to)
}
