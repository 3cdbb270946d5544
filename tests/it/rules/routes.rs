//! Who is told of an alert, asked of Alertmanager.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Rule, accepts, alert, alerts, alerts_dir};
use crate::tools::{mortal, run, tool};

#[test]
fn amtool_accepts_the_routes() {
    accepts("amtool", &["check-config", "alertmanager.yml"]);
}

/// Who is told, by the Alertmanager's own routing.
pub fn receivers(amtool: &Path, alert: &Rule) -> BTreeSet<String> {
    let mut args: Vec<_> = ["config", "routes", "test", "--config.file=alertmanager.yml"].map(str::to_owned).into();
    args.push(format!("alertname={}", alert.name()));
    args.push("job=larder".to_owned());
    args.extend(alert.labels().into_iter().map(|(name, value)| format!("{name}={value}")));
    let output = Command::new(amtool).args(&args).current_dir(alerts_dir()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().split(',').map(str::to_owned).collect()
}

#[test]
fn every_alert_goes_to_whom_its_severity_says() {
    let Some(amtool) = tool("amtool") else { return };
    for alert in alerts() {
        let labels = alert.labels();
        let expected: &[&str] = match (labels["severity"], labels.get("escalation")) {
            ("warning", Some(&"platform")) => &["platform-oncall"],
            ("warning", None) => &["dev-data-oncall"],
            ("critical" | "page", None) => &["dev-data-oncall", "platform-oncall"],
            ("ticket", None) => &["data-tickets"],
            ("none", None) => &["dead-man"],
            other => panic!("{}: nobody is told of {other:?}", alert.title()),
        };
        let expected = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(receivers(&amtool, &alert), expected, "{}", alert.title());
    }
}

/// A running Alertmanager, ended with the test.
struct Alertmanager {
    process: Child,
    amtool: PathBuf,
    url: String,
    _dir: tempfile::TempDir,
}

impl Alertmanager {
    fn start() -> Option<Self> {
        let (program, amtool) = (tool("prometheus-alertmanager")?, tool("amtool")?);
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = mortal(program)
            .args(["--config.file=alertmanager.yml", "--cluster.listen-address="])
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--storage.path={}", dir.path().display()))
            .current_dir(alerts_dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { process, amtool, url: format!("--alertmanager.url=http://{address}"), _dir: dir };
        let patience = Instant::now() + Duration::from_secs(30);
        while !this.ask(&["alert", "query"]).0 {
            assert!(Instant::now() < patience, "Alertmanager does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(this)
    }

    fn ask(&self, args: &[&str]) -> (bool, String) {
        run(&self.amtool, &alerts_dir(), &[&[self.url.as_str()], args].concat())
    }

    fn fire(&self, alert: &Rule, job: &str) {
        let labels = alert.labels().into_iter().map(|(name, value)| format!("{name}={value}"));
        let labels: Vec<_> = labels.chain([format!("alertname={}", alert.name()), format!("job={job}")]).collect();
        let args: Vec<_> = ["alert", "add"].into_iter().chain(labels.iter().map(String::as_str)).collect();
        let (good, output) = self.ask(&args);
        assert!(good, "{output}");
    }

    /// The job and the name of every alert that is kept back, once all are known.
    fn inhibited(&self, known: usize) -> Vec<(String, String)> {
        let query = |kinds: &[&str]| -> Vec<Value> {
            let (good, output) = self.ask(&[&["alert", "query", "--output=json"], kinds].concat());
            assert!(good, "{output}");
            serde_json::from_str(&output).unwrap()
        };
        let patience = Instant::now() + Duration::from_secs(30);
        while query(&["--active", "--inhibited"]).len() < known {
            assert!(Instant::now() < patience, "Alertmanager forgets alerts");
            std::thread::sleep(Duration::from_millis(50));
        }
        let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap().to_owned();
        let mut found: Vec<_> =
            query(&["--inhibited"]).iter().map(|alert| (label(alert, "job"), label(alert, "alertname"))).collect();
        found.sort();
        found
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn whoever_is_told_the_worse_is_not_told_the_lesser_of_the_same_job() {
    let Some(alertmanager) = Alertmanager::start() else { return };
    // Without the sign of life, which would be sent to the placeholder at once.
    let all: Vec<_> = alerts().into_iter().filter(|alert| alert.labels()["severity"] != "none").collect();
    all.iter().for_each(|alert| alertmanager.fire(alert, "a"));
    let lesser = ["FeatureStoreHitRatioLow", "FeatureStoreBudgetBurnTicket"];
    let of_b: Vec<_> = all.iter().filter(|alert| lesser.contains(&alert.name())).collect();
    of_b.iter().for_each(|alert| alertmanager.fire(alert, "b"));
    let expected = [lesser[1], lesser[1], lesser[0], lesser[0], "FeatureStoreMetricsAbsent"];
    let expected = expected.map(|name| ("a".to_owned(), name.to_owned()));
    assert_eq!(alertmanager.inhibited(all.len() + of_b.len()), expected);
}

#[test]
fn low_outlives_critical_because_an_inhibited_alert_ends_unheard() {
    assert_eq!(alert("FeatureStoreHitRatioLow").text("keep_firing_for"), "5m");
    assert_eq!(alert("FeatureStoreHitRatioCritical").text("keep_firing_for"), "");
}
