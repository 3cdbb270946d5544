//! A PostgreSQL of a test's own.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tools::{mortal, tool_in};

/// The user whom sources read as, with a password that a URL has to escape.
pub const PASSWORD: &str = "hush/hush@7";

/// Ended, and its data removed, when it is dropped.
pub struct Server {
    dir: tempfile::TempDir,
    programs: PathBuf,
    pub port: u16,
    process: Option<Child>,
    settings: Vec<String>,
}

impl Server {
    /// `None`, said aloud, where PostgreSQL is not installed. The database `market` is empty.
    pub fn start() -> Option<Self> {
        Self::with(|_| Vec::new())
    }

    /// One with more settings, which may name files of its directory.
    pub fn with(settings: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let debian: Vec<_> = debian.map(|version| version.unwrap().path().join("bin")).collect();
        let programs = tool_in("initdb", &debian)?.canonicalize().unwrap().parent().unwrap().to_owned();
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = settings(dir.path());
        let mut server = Self { dir, programs, port, process: None, settings };
        std::fs::write(server.path("password"), "postgres").unwrap();
        if let Some((user, group)) = server.account() {
            for path in [server.path(""), server.path("password")] {
                chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let mut initdb = server.command("initdb");
        initdb.arg("-D").arg(server.path("data")).arg("--pwfile").arg(server.path("password"));
        let made = initdb
            .args(["-N", "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.run();
        server.sql_in("postgres", "CREATE DATABASE market");
        server.sql(&format!("CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO reader"));
        Some(server)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whom it runs as, which must not be root.
    fn account(&self) -> Option<(u32, u32)> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            return None;
        }
        let id = |what: &str| {
            let output = Command::new("id").args([what, "postgres"]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        Some((id("-u"), id("-g")))
    }

    /// A program that ends with the thread that starts it, whatever happens.
    fn command(&self, program: &str) -> Command {
        let mut command = mortal(self.programs.join(program));
        if let Some((user, group)) = self.account() {
            command.uid(user).gid(group);
        }
        command.current_dir(self.dir.path()).stdin(Stdio::null()).env_remove("PGPASSWORD");
        command
    }

    /// Starts it and waits until it answers.
    pub fn run(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.path("data")).args(["-p", &self.port.to_string(), "-k"]).arg(self.dir.path());
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "log_statement=all"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        self.process = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let begun = Instant::now();
        while !self.psql("postgres", "SELECT 1").status.success() {
            assert!(begun.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Ends it at once, in the middle of whatever it does.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // SIGQUIT is its immediate shutdown, which takes its children along.
            Command::new("kill").args(["-QUIT", &process.id().to_string()]).status().unwrap();
            process.wait().unwrap();
        }
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        let mut psql = self.command("psql");
        psql.arg("-h").arg(self.dir.path()).args(["-p", &self.port.to_string(), "-U", "postgres", "-d", database]);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).output().unwrap()
    }

    fn sql_in(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What SQL of its owner gives.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("market", sql)
    }

    /// What it wrote down of what it was asked.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The URL of a definition.
    pub fn url(&self) -> String {
        format!("postgres://reader:${{PGPASSWORD}}@127.0.0.1:{}/market", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
