//! One scenario: a stack, a service, a machine for the runbook's commands, and what is expected of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::http;
use super::service::{FEED_STOPPED, Load, Orders, SOURCE_IS_DOWN, Service, warm};
use super::stack::{Alert, PATIENCE, Pace, Process, Programs, SCRAPED, Stack, WATCHDOG, free_address, until};
use super::units::{Machine, Places};
use super::webhook::Told;
use crate::runbook;

/// The unit of the process that Prometheus asks.
pub const SERVICE: &str = "feature-cache.service";
pub const CLEANER: &str = "feature-cache-cleanup.service";
const TIMER: &str = "feature-cache-cleanup.timer";
/// A job of somebody else, which the simulation of systemd knows besides ours.
pub const BACKFILL: &str = "backfill.service";

/// Whom Prometheus asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The service itself.
    Service,
    /// `larder serve`, beside a service that serves nothing.
    Larder,
    /// The service, through something in between; see [`Day::in_between`].
    InBetween,
}

/// How a scenario begins.
pub struct Plan {
    pub load: Load,
    pub watch: Watch,
    /// More settings, as the environment has them.
    pub settings: &'static [(&'static str, &'static str)],
}

impl Default for Plan {
    fn default() -> Self {
        Self { load: Load { rate: 60, hot: 40, ..Load::default() }, watch: Watch::Service, settings: &[] }
    }
}

/// A scenario under way. Fields are dropped in their order: first whoever uses the others.
pub struct Day {
    jobs: RefCell<BTreeMap<&'static str, Job>>,
    serve: RefCell<Option<Process>>,
    service: RefCell<Option<Service>>,
    between: Option<between::Between>,
    pub stack: Stack,
    pub machine: Machine,
    orders: Orders,
    pub cache: PathBuf,
    watch: Watch,
    _dir: tempfile::TempDir,
}

impl Day {
    /// Starts everything, and waits until it is healthy and Alertmanager has told the dead man's switch so.
    pub fn begin(programs: &Programs, plan: &Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("cache");
        Self::begin_in(programs, plan, dir, cache)
    }

    /// The same with the cache elsewhere.
    pub fn begin_in(programs: &Programs, plan: &Plan, dir: tempfile::TempDir, cache: PathBuf) -> Self {
        // Disk alone, so that what happens to files is noticed at once; nothing is too young to be removed.
        let usual = [
            SCRAPED,
            ("LARDER_MANIFEST__FOLD_INTERVAL", "500ms"),
            ("LARDER_DISK__RESERVE_GB", "0"),
            ("LARDER_DISK__MIN_AGE", "0s"),
            ("LARDER_MEMORY__MAX_MB", "0"),
        ];
        let settings: BTreeMap<_, _> = usual.iter().chain(plan.settings).copied().collect();
        let settings: Vec<_> = settings.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        warm(&cache, &plan.load);
        let listen = free_address();
        let between = (plan.watch == Watch::InBetween).then(|| between::Between::start(listen));
        let target = between.as_ref().map_or(listen, between::Between::address);
        let faults = dir.path().join("faults");
        std::fs::create_dir(&faults).unwrap();
        let serve = (plan.watch != Watch::Larder).then_some(listen);
        let orders = Orders { cache: cache.clone(), load: plan.load, serve, settings: settings.clone(), faults };
        let stack = Stack::start(programs, target, Pace::Hurry);
        let places = Places {
            larder: target,
            prometheus: stack.prometheus,
            alertmanager: stack.alertmanager,
            config: stack.config(),
        };
        let machine = Machine::new(dir.path(), &cache, &places, &settings);
        let day = Self {
            jobs: RefCell::default(),
            serve: RefCell::default(),
            service: RefCell::new(Some(Service::start(&orders))),
            between,
            stack,
            machine,
            orders,
            cache,
            watch: plan.watch,
            _dir: dir,
        };
        if plan.watch == Watch::Larder {
            day.restart(SERVICE);
        }
        day.wait_until_seen();
        day.service.borrow_mut().as_mut().unwrap().go();
        day.wait_until_healthy();
        day
    }

    /// Prometheus has the counters at 0 before the first request, so that it counts all of them.
    fn wait_until_seen(&self) {
        until("a first scrape", PATIENCE, || match self.stack.value("count(featurestore_requests_total)") {
            Some(_) => Ok(()),
            None => Err("no requests_total".to_owned()),
        });
    }

    fn wait_until_healthy(&self) {
        until("health", PATIENCE, || {
            let ratio = self.stack.value("featurestore:hit_ratio_5m");
            let requests = self.stack.value("featurestore:requests_30m");
            let alerts = self.stack.pending();
            let watchdog = self.told(WATCHDOG);
            if ratio.is_some_and(|ratio| ratio > 0.95)
                && requests >= Some(200.0)
                && alerts.is_empty()
                && !watchdog.is_empty()
            {
                return Ok(());
            }
            Err(format!("hit ratio {ratio:?} of {requests:?} requests, alerts {alerts:?}, watchdog {watchdog:?}"))
        });
        assert_eq!(self.stack.fired(), BTreeSet::new(), "nothing has fired while all was well");
    }

    /// How often the lesser alert was told although the greater one had been firing for all of 3 seconds, which is longer
    /// than Alertmanager takes to hear of it.
    pub fn told_in_spite_of(&self, lesser: &str, greater: &str) -> usize {
        let firing = format!("count_over_time(ALERTS{{alertname=\"{greater}\", alertstate=\"firing\"}}[3s]) >= 6");
        let told = self.told(lesser).into_iter().filter(|told| told.firing);
        told.filter(|told| !self.stack.query_at(&firing, told.at).is_empty()).count()
    }

    /// Deliveries of an alert.
    pub fn told(&self, name: &str) -> Vec<Told> {
        self.stack.webhook.told().into_iter().filter(|told| told.alert == name).collect()
    }

    /// Waits until these alerts fire and those of them that are told to somebody have been delivered to all of them, and
    /// to nobody else.
    pub fn expect(&self, alerts: &[(&str, &[&str])]) {
        let expected: BTreeSet<_> = alerts.iter().map(|(name, _)| Alert((*name).to_owned())).collect();
        until("the alerts", PATIENCE, || {
            let firing = self.stack.firing();
            if !firing.is_superset(&expected) {
                return Err(format!("expected {expected:?}, {firing:?} fire; {}", self.figures()));
            }
            let missing: Vec<_> = alerts
                .iter()
                .flat_map(|(name, receivers)| receivers.iter().map(move |receiver| (*name, *receiver)))
                .filter(|(name, receiver)| !self.was_told(name, receiver, true))
                .collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("not delivered: {missing:?}")) }
        });
    }

    /// What may say why something else than expected happened.
    fn figures(&self) -> String {
        let figures = ["featurestore:hit_ratio_5m", "featurestore:miss_ratio_6h", "featurestore:requests_30m", "up"];
        let figures: Vec<_> = figures.iter().map(|expr| format!("{expr} {:?}", self.stack.query(expr))).collect();
        figures.join(", ")
    }

    fn was_told(&self, name: &str, receiver: &str, firing: bool) -> bool {
        let told = self.stack.webhook.told();
        told.iter().any(|told| Alert::of(&told.labels).0 == name && told.receiver == receiver && told.firing == firing)
    }

    /// Runs the fix of an alert's section for one cause.
    pub fn fix(&self, section: &str, cause: &str, environment: &[(&str, &str)]) {
        let block = runbook::fix(section, cause);
        let extra = [("EXTRA_UNITS", BACKFILL)];
        let environment: Vec<_> = environment.iter().chain(&extra).copied().collect();
        let output = self.machine.run(&block.commands, &environment, |verb, unit| match verb {
            "stop" => self.stop(unit),
            _ => self.restart(unit),
        });
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(block.exit), "line {} of the runbook: {said}", block.line);
    }

    /// Waits until nothing fires but what may go on, and the end of everything that was told has been told, too; then
    /// checks who was told what in all the time. `lasting` alerts may have fired besides: consequences that outlive the
    /// fault, as an overspent budget does.
    pub fn end(&self, alerts: &[(&str, &[&str])], lasting: &[&str]) {
        let may_last = |alert: &Alert| lasting.contains(&alert.0.as_str());
        let receivers = |alert: &str| -> BTreeSet<&str> {
            let of = alerts.iter().find(|(name, _)| *name == alert);
            of.map(|(_, receivers)| receivers.iter().copied().collect()).unwrap_or_default()
        };
        until("the end of the alerts", PATIENCE, || {
            let firing: Vec<_> = self.stack.firing().into_iter().filter(|alert| !may_last(alert)).collect();
            let told = self.stack.webhook.told();
            let open: BTreeSet<_> = told
                .iter()
                .map(|told| (Alert::of(&told.labels), told.receiver.as_str()))
                .filter(|(alert, receiver)| {
                    alert.0 != WATCHDOG && !may_last(alert) && !self.was_told(&alert.0, receiver, false)
                })
                .collect();
            match (firing.is_empty(), open.is_empty()) {
                (true, true) => Ok(()),
                _ => Err(format!("{firing:?} fire, the end was not told of {open:?}; {}", self.figures())),
            }
        });
        let fired: BTreeSet<_> = self.stack.fired().into_iter().filter(|alert| !may_last(alert)).collect();
        let expected: BTreeSet<_> = alerts.iter().map(|(name, _)| Alert((*name).to_owned())).collect();
        assert_eq!(fired, expected, "exactly these should have fired");
        for told in self.stack.webhook.told() {
            let alert = Alert::of(&told.labels);
            check_annotations(&told);
            match alert.0.as_str() {
                WATCHDOG => assert_eq!(told.receiver, "dead-man"),
                name if lasting.contains(&name) => assert_eq!(told.receiver, "data-tickets", "{name}"),
                // While a greater alert fires nobody has to be told, but before and after it these are.
                "FeatureStoreHitRatioLow" => assert_eq!(told.receiver, "dev-data-oncall"),
                "FeatureStoreBudgetBurnTicket/1d" | "FeatureStoreBudgetBurnTicket/3d" => {
                    assert_eq!(told.receiver, "data-tickets");
                }
                name => {
                    assert!(receivers(name).contains(told.receiver.as_str()), "{name} was told to {}", told.receiver)
                }
            }
        }
        if self.service.borrow_mut().as_mut().is_none_or(|service| service.process().ended().is_some()) {
            panic!("the service has ended: it was served a wrong value");
        }
    }

    /// What Larder's program says, run as whoever is on call runs it.
    pub fn larder(&self, arguments: &[&str]) -> String {
        let output = self.machine.command(env!("CARGO_BIN_EXE_larder")).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        said.into_owned()
    }

    pub fn signal(&self, signal: &str) {
        self.service.borrow_mut().as_mut().unwrap().process().signal(signal);
    }

    pub fn fault(&self, file: &str, text: &str) {
        std::fs::write(self.orders.faults.join(file), text).unwrap();
    }

    /// What stands between Prometheus and the service, if something does.
    pub fn in_between(&self) -> &between::Between {
        self.between.as_ref().unwrap()
    }

    /// Begins to run the program again and again, as a timer does, until its unit is stopped.
    pub fn begin_job(&self, unit: &'static str, every: Duration, arguments: &'static [&'static str]) {
        let mut command = self.machine.command(env!("CARGO_BIN_EXE_larder"));
        command.args(arguments).envs(self.machine.drop_ins(CLEANER));
        self.jobs.borrow_mut().insert(unit, Job::begin(command, every));
    }

    /// Ends the service: as it should where it listens, at once where it hangs or is gone.
    ///
    /// Not before Prometheus has seen its last requests. Those of the last scrape interval are lost to every counter,
    /// which the gauge's history does not lose; over 5 real minutes that is nothing, of the few seconds here it is much.
    pub fn end_service(&self) {
        let Some(mut service) = self.service.borrow_mut().take() else { return };
        if !service.process().listens() {
            return;
        }
        service.pause();
        let seen = || self.stack.query("sum(changes(featurestore_requests_total[2s]))");
        until("a scrape of the last requests", PATIENCE, || match seen().first() {
            Some((_, changes)) if *changes > 0.0 => Err(format!("{changes} counters changed")),
            _ => Ok(()),
        });
        service.stop();
    }

    fn stop(&self, unit: &str) {
        let job = self.jobs.borrow_mut().remove(unit);
        assert!(job.is_some(), "{unit} does not run");
    }

    /// Starts or restarts a unit with the environment of its drop-ins.
    pub fn restart(&self, unit: &str) {
        let more = self.machine.drop_ins(unit);
        match unit {
            SERVICE if self.watch == Watch::Larder => {
                let at = self.stack.target;
                self.serve.borrow_mut().take();
                let process = Process::start(Path::new(env!("CARGO_BIN_EXE_larder")), |command| {
                    command.args(["serve", "--listen", &at.to_string(), "--cache-dir"]).arg(&self.cache);
                    command.envs(self.orders.settings.iter().map(|(key, value)| (key, value))).envs(more);
                });
                self.serve.borrow_mut().replace(process);
                wait_for(at);
            }
            SERVICE => {
                self.end_service();
                // With the process go the faults of what it is connected to.
                for fault in [SOURCE_IS_DOWN, FEED_STOPPED] {
                    let _ = std::fs::remove_file(self.orders.faults.join(fault));
                }
                self.between.iter().for_each(|between| between.rewrite(false));
                let mut orders = self.orders.clone();
                orders.settings.extend(more);
                self.service.borrow_mut().replace(Service::started(&orders));
                wait_for(orders.serve.unwrap());
            }
            TIMER => {
                if self.jobs.borrow_mut().remove(TIMER).is_some() {
                    self.begin_job(TIMER, Duration::from_secs(1), &["clean"]);
                }
            }
            other => panic!("nobody plays {other} here"),
        }
    }
}

fn wait_for(address: SocketAddr) {
    until("metrics", PATIENCE, || http::get(address, "/metrics").map(drop).map_err(|error| error.to_string()));
}

/// Every delivery says what is the matter, with a figure, and links to an existing section.
fn check_annotations(told: &Told) {
    let text = |name: &str| told.annotations[name].as_str().unwrap_or_default().to_owned();
    let (summary, description) = (text("summary"), text("description"));
    assert!(!summary.is_empty(), "{told:?}");
    assert!(description.contains(|c: char| c.is_ascii_digit()) && !description.contains("{{"), "{description}");
    let url = text("runbook_url");
    let anchor = url.split_once("docs/runbook.md#").unwrap_or_else(|| panic!("{url:?}")).1;
    assert_eq!(anchor, told.alert.to_lowercase());
    assert!(runbook::anchors().contains(anchor), "{url} leads nowhere");
    assert!(text("dashboard_url").starts_with("http"), "{told:?}");
}

/// A command that runs again and again.
struct Job {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Job {
    fn begin(mut command: Command, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let output = command.output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                std::thread::sleep(every);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.expect("a job failed");
        }
    }
}

/// A simulation of a proxy that changes what passes through it.
pub mod between {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::gameday::http;

    /// Passes on what is asked for; the hit ratio 0.1 lower where it was told so.
    pub struct Between {
        address: SocketAddr,
        rewrite: Arc<AtomicBool>,
        stop: Arc<AtomicBool>,
    }

    impl Between {
        pub fn start(to: SocketAddr) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (rewrite, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let (rewrites, stopped) = (Arc::clone(&rewrite), Arc::clone(&stop));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    // Whoever asks and hangs up, or asks while nobody answers, is a failed scrape and no more.
                    let _ = pass(stream, to, rewrites.load(Ordering::SeqCst));
                }
            });
            Self { address, rewrite, stop }
        }

        pub fn address(&self) -> SocketAddr {
            self.address
        }

        pub fn rewrite(&self, rewrite: bool) {
            self.rewrite.store(rewrite, Ordering::SeqCst);
        }
    }

    impl Drop for Between {
        fn drop(&mut self) {
            self.stop.store(true, Ordering::SeqCst);
            let _ = TcpStream::connect(self.address);
        }
    }

    fn pass(mut stream: TcpStream, to: SocketAddr, rewrite: bool) -> std::io::Result<()> {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(2)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut header = String::from("-");
        while !header.trim().is_empty() {
            header.clear();
            reader.read_line(&mut header)?;
        }
        let (status, body) = http::get(to, line.split(' ').nth(1).unwrap_or("/"))?;
        let lower = |line: &str| match line.strip_prefix("featurestore_hit_ratio ") {
            Some(ratio) if rewrite => {
                format!("featurestore_hit_ratio {}\n", ratio.trim().parse::<f64>().unwrap_or(0.0) - 0.1)
            }
            _ => line.to_owned(),
        };
        let body: String = body.split_inclusive('\n').map(lower).collect();
        let kind = "content-type: text/plain; version=0.0.4";
        write!(
            stream,
            "HTTP/1.1 {status} -\r\n{kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }
}
