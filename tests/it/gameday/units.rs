//! A simulation of systemd, in which blocks of the runbook run.
//!
//! Simulated: `systemctl` and `journalctl`, which are scripts on the path. They know the units of `config/systemd` and
//! fail for others; what they are told to start, stop or restart the test does, with the environment of the drop-ins
//! that were written. Everything else is real: the `larder` program, curl, jq, promtool, amtool, lslocks, mount.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const SYSTEMCTL: &str = r#"#!/bin/sh
# A simulation of systemctl for the tests of the runbook.
echo "systemctl $*" >> "$SIMULATION/calls"
verb= unit=
for word; do
    case $word in
        -*) ;;
        *) if [ -z "$verb" ]; then verb=$word; else unit=$word; fi ;;
    esac
done
[ "$verb" = daemon-reload ] && exit 0
case " $EXTRA_UNITS " in
    *" $unit "*) ;;
    *) [ -n "$unit" ] && [ -f "$UNITS/$unit" ] || { echo "Unit $unit could not be found." >&2; exit 4; } ;;
esac
case $verb in
    status | is-active) echo "$unit: simulated" ;;
    start | stop | restart)
        ask="$SIMULATION/ask.$$"
        echo "$verb $unit" > "$ask.new" && mv "$ask.new" "$ask"
        while [ -e "$ask" ]; do sleep 0.05; done ;;
    *) echo "Unknown command verb $verb." >&2; exit 1 ;;
esac
"#;

const JOURNALCTL: &str = r#"#!/bin/sh
# A simulation of journalctl for the tests of the runbook.
echo "journalctl $*" >> "$SIMULATION/calls"
unit=
while [ $# -gt 0 ]; do
    case $1 in
        -u) unit=$2; shift ;;
        --since | --grep) shift ;;
        -k | --no-pager) ;;
        *) echo "unexpected: $1" >&2; exit 1 ;;
    esac
    shift
done
[ -z "$unit" ] || [ -f "$UNITS/$unit" ] || { echo "No journal files were found for $unit." >&2; exit 1; }
echo "-- No entries --"
"#;

/// How long a block may run.
const PATIENCE: Duration = Duration::from_secs(90);

/// A machine on which commands of the runbook run.
pub struct Machine {
    dir: PathBuf,
    /// Settings and where the cache is.
    environment: Vec<(String, String)>,
    /// What stands in the runbook, and what is here instead.
    places: Vec<(&'static str, String)>,
}

/// Where the programs that the runbook knows by their usual addresses and files are.
pub struct Places {
    pub larder: SocketAddr,
    pub prometheus: SocketAddr,
    pub alertmanager: SocketAddr,
    pub config: PathBuf,
}

impl Machine {
    /// Makes its files in `dir`.
    pub fn new(dir: &Path, cache: &Path, places: &Places, settings: &[(String, String)]) -> Self {
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(dir.join("home")).unwrap();
        for (name, script) in [("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)] {
            std::fs::write(bin.join(name), script).unwrap();
            std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_larder"), bin.join("larder")).unwrap();
        let path = std::env::var("PATH").unwrap();
        let units = crate::checkout::path("config/systemd");
        let own = [
            ("PATH", format!("{}:{path}", bin.display())),
            ("HOME", dir.join("home").display().to_string()),
            ("FEATURE_CACHE_DIR", cache.display().to_string()),
            ("SIMULATION", dir.display().to_string()),
            ("UNITS", units.display().to_string()),
        ];
        let own = own.map(|(key, value)| (key.to_owned(), value));
        Self {
            dir: dir.to_owned(),
            environment: own.into_iter().chain(settings.iter().cloned()).collect(),
            // The runbook's addresses are those of a machine with one of each; here every test has its own.
            places: vec![
                ("127.0.0.1:8000", places.larder.to_string()),
                ("127.0.0.1:9090", places.prometheus.to_string()),
                ("127.0.0.1:9093", places.alertmanager.to_string()),
                ("/etc/prometheus/prometheus.yml", places.config.display().to_string()),
                ("/etc/systemd/system", dir.join("systemd").display().to_string()),
            ],
        }
    }

    /// What the drop-ins say that a unit's environment is.
    pub fn drop_ins(&self, unit: &str) -> BTreeMap<String, String> {
        let files = crate::damage::files(&self.dir.join("systemd").join(format!("{unit}.d")));
        let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let variables = text.lines().filter_map(|line| line.strip_prefix("Environment="));
        variables.map(|line| line.split_once('=').unwrap()).map(|(key, value)| (key.into(), value.into())).collect()
    }

    /// Writes a drop-in, as somebody might have done before anything went wrong.
    pub fn drop_in(&self, unit: &str, file: &str, variable: &str) {
        let dir = self.dir.join("systemd").join(format!("{unit}.d"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(file), format!("[Service]\nEnvironment={variable}\n")).unwrap();
    }

    /// Calls of `systemctl` and `journalctl` so far.
    pub fn calls(&self) -> Vec<String> {
        let calls = std::fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// A command with this machine's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.current_dir(self.dir.join("home")).stdin(Stdio::null());
        command
    }

    /// Runs commands of the runbook, and `unit` for each unit that they start, stop or restart.
    pub fn run(&self, commands: &str, more: &[(&str, &str)], mut unit: impl FnMut(&str, &str)) -> Output {
        let commands = self.places.iter().fold(commands.to_owned(), |text, (from, to)| text.replace(from, to));
        let mut command = self.command("sh");
        command.args(["-e", "-c", &commands]).envs(more.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Read on threads of their own, so that a full pipe stops nobody.
        let (out, err) = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            self.serve(&mut unit);
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("this took longer than {PATIENCE:?}: {commands}");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        Output { status, stdout: out.join().unwrap(), stderr: err.join().unwrap() }
    }

    fn serve(&self, unit: &mut impl FnMut(&str, &str)) {
        for entry in std::fs::read_dir(&self.dir).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("ask.") && !name.ends_with(".new") {
                let asked = std::fs::read_to_string(entry.path()).unwrap();
                let (verb, name) = asked.trim().split_once(' ').unwrap();
                unit(verb, name);
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

fn drain(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}
