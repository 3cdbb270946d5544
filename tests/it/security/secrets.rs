//! Secrets that are looked for in everything that Larder prints, answers or writes.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::{Larder, code, walk};
use crate::http::send;
use crate::postgres::server::Server;
use crate::server::Program;

const TOKEN: &str = "canary-token-9f2e4c7a1b3d";
const PASSWORD: &str = "canary/pass@word-51c8";
const ESCAPED: &str = "canary%2Fpass%40word-51c8";
const WRONG: &str = "canary-wrong-2d90";
const IN_URL: &str = "canary-url-77aa";

/// `quotes` with a password of its own, `whole` with a whole URL in a variable.
const DEFINITIONS: &str = r#"
[entity.symbol]

[source.quotes]
kind = "postgres"
url = "postgres://reader:${DB_PASSWORD}@127.0.0.1:PORT/market"
table = "quotes"
event_time = "at"
types = { bid = "double" }

[source.whole]
kind = "postgres"
url = "${DATABASE_URL}"
table = "quotes"
event_time = "at"
types = { bid = "double" }

[view.quotes]
entity = "symbol"
source = "quotes"
ttl = "1d"
[view.quotes.features]
bid = { column = "bid" }

[view.whole]
entity = "symbol"
source = "whole"
ttl = "1d"
[view.whole.features]
whole_bid = { column = "bid" }

[service.model]
features = ["quotes.bid", "whole.whole_bid"]
"#;

/// Fails where a text holds a secret.
fn assert_clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in [TOKEN, PASSWORD, ESCAPED, WRONG, IN_URL, "canary"] {
        assert!(!text.contains(secret), "{what} holds {secret}:\n{text}");
    }
}

/// A desk whose definitions read PostgreSQL, and how much of what it left was searched, by kind.
struct Search {
    larder: Larder,
    port: u16,
    token: PathBuf,
    searched: BTreeMap<&'static str, usize>,
}

impl Search {
    fn new(server: &Server) -> Self {
        server.sql(&format!(
            "CREATE TABLE quotes (symbol text, at timestamptz, bid double precision); INSERT INTO quotes VALUES \
             ('EURUSD', '2024-03-06T10:00:00Z', 1), ('EURUSD', '2024-03-06T11:00:00Z', 2); ALTER ROLE reader PASSWORD \
             '{PASSWORD}'; CREATE ROLE auditor LOGIN PASSWORD '{IN_URL}'; GRANT pg_read_all_data TO auditor"
        ));
        let larder = Larder::new();
        std::fs::create_dir_all(larder.path("config/features")).unwrap();
        let token = larder.path("token");
        std::fs::write(&token, TOKEN).unwrap();
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
        let search = Self { larder, port: server.port, token, searched: BTreeMap::new() };
        search.define(DEFINITIONS);
        search
    }

    fn define(&self, text: &str) {
        let text = text.replace("PORT", &self.port.to_string());
        std::fs::write(self.larder.path("config/features/desk.toml"), text).unwrap();
    }

    fn count(&mut self, kind: &'static str, what: &str, bytes: &[u8]) {
        assert_clean(what, bytes);
        if !bytes.is_empty() {
            *self.searched.entry(kind).or_default() += 1;
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let url = format!("postgres://auditor:{IN_URL}@127.0.0.1:{}/market", self.port);
        let mut command = self.larder.command(arguments.iter().copied());
        command.envs([("LARDER_TOKEN", TOKEN), ("DB_PASSWORD", PASSWORD), ("DATABASE_URL", &url)]);
        command.env("LARDER_LOG", "trace").env("RUST_BACKTRACE", "full");
        command
    }

    /// Runs a command, which ends with this status, and looks at what it prints and logs.
    fn run(&mut self, status: i32, arguments: &[&str]) -> String {
        self.run_with(status, arguments, &[])
    }

    /// The same with other variables.
    fn run_with(&mut self, status: i32, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.command(arguments).envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), status, "{arguments:?}: {said}");
        assert!(!said.contains("unexpected argument") && !said.contains("unrecognized subcommand"), "{said}");
        self.count("outputs", &format!("{arguments:?} stdout"), &output.stdout);
        self.count(
            if status == 0 { "logs" } else { "errors and their logs" },
            &format!("{arguments:?}"),
            &output.stderr,
        );
        said
    }

    /// Every file that is there, but that of the token.
    fn look_at_files(&mut self) {
        let home = self.larder.path("");
        walk(&home.clone(), &mut |path| {
            if !path.is_file() || path == self.token {
                return;
            }
            let below = path.strip_prefix(&home).unwrap();
            let kinds = [
                ("cache/registry", "registry files"),
                ("cache/blocks", "blocks"),
                ("cache/journal", "journals"),
                ("backup", "backups"),
                ("dumped", "dumped definitions"),
            ];
            let kind = kinds.iter().find(|(place, _)| below.starts_with(place)).map_or("other files", |(_, kind)| kind);
            self.count(kind, &path.display().to_string(), &std::fs::read(path).unwrap());
        });
        // The file of the manifest may be compressed.
        let manifest = self.larder.hold_manifest();
        let mut tables = manifest.prepare("SELECT table_name FROM information_schema.tables").unwrap();
        let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        for table in tables {
            let mut rows = manifest.prepare(&format!("SELECT of::VARCHAR FROM \"{table}\" AS of")).unwrap();
            for row in rows.query_map([], |row| row.get::<_, String>(0)).unwrap() {
                self.count("rows of the manifest", &table, row.unwrap().as_bytes());
            }
        }
    }

    /// What a server answers and logs, which has the token from the environment or from the file.
    fn serve(&mut self, is_from_file: bool) {
        let log = self.larder.path("log");
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
        if is_from_file {
            command.env_remove("LARDER_TOKEN").arg("--token-file").arg(&self.token);
        }
        let program = Program::start_logging(command, std::fs::File::create(&log).unwrap().into());
        let command_line = std::fs::read(format!("/proc/{}/cmdline", program.id())).unwrap();
        self.count("command lines", "the command line", &command_line);
        for path in ["/", "/metrics", "/slo", "/blocks", "/health", "/ready", "/nothing"] {
            for header in ["Bearer x", "Basic x", &format!("Bearer {TOKEN}")] {
                let request =
                    format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: {header}\r\n\r\n");
                let answer = send(program.address, &request);
                let kind = match (answer.status, path) {
                    (200, "/") => "pages",
                    (200, _) => "answers",
                    (401 | 404, _) => "refusals",
                    other => panic!("{other:?}: {answer:?}"),
                };
                self.count(kind, path, (answer.head + &answer.body).as_bytes());
            }
        }
        drop(program);
        self.count("logs of a server", "the log", &std::fs::read(&log).unwrap());
    }
}

#[test]
fn no_secret_is_in_anything_that_is_printed_answered_or_written() {
    let Some(mut server) = Server::start() else { return };
    let mut search = Search::new(&server);
    let range = ["--entity", "symbol=EURUSD", "--start", "2024-03-06", "--end", "2024-03-07"];
    let get = |view: &'static str| [&["get", view][..], &range].concat();
    let warm = ["warm", "--view", "whole", "--start", "2024-03-05", "--end", "2024-03-07"];
    for json in [false, true] {
        let more: &[&str] = if json { &["--json"] } else { &[] };
        let (directory, backup) = if json { ("dumped/b", "backup/b") } else { ("dumped/a", "backup/a") };
        std::fs::create_dir_all(search.larder.path("backup")).unwrap();
        for (status, command) in [
            (0, &["validate"][..]),
            (0, &["plan"]),
            (0, &["apply"]),
            (0, &["registry", "history"]),
            (0, &["registry", "dump", directory]),
            (0, &["registry", "backup", backup]),
            (0, &["registry", "restore", backup]),
            (0, &["entities"]),
            (0, &["sources"]),
            (0, &["sources", "describe", "quotes"]),
            (0, &["sources", "describe", "whole"]),
            (0, &["views"]),
            (0, &["views", "describe", "quotes"]),
            (0, &["services", "describe", "model"]),
            (0, &get("quotes")),
            (0, &get("model")),
            (0, &warm),
            (0, &["invalidate", "--view", "quotes"]),
            (0, &["explain"]),
            (0, &["explain", "HitRatioLow"]),
            (0, &["stats"]),
            (0, &["slo"]),
            (0, &["verify"]),
            (0, &["repair"]),
            (0, &["doctor"]),
            (2, &["serve", "--listen", "256.0.0.1:1"]),
            (1, &["serve", "--listen", "127.0.0.1:0", "--token-file", "nowhere"]),
        ] {
            search.run(status, &[command, more].concat());
        }
        // Those that fail, at every stage of a connection.
        for (variable, value) in [
            ("DB_PASSWORD", WRONG),
            ("DATABASE_URL", "postgres://auditor:canary@127.0.0.1:1/market"),
            ("DATABASE_URL", "postgres://auditor:canary@[canary/market"),
            ("DATABASE_URL", "canary"),
        ] {
            let view = if variable == "DB_PASSWORD" { "quotes" } else { "whole" };
            let command = ["get", view, "--entity", "symbol=OTHER", "--start", "2024-03-06", "--end", "2024-03-07"];
            search.run_with(1, &[&command, more].concat(), &[(variable, value)]);
        }
        search.serve(json);
    }
    assert!(server.log().contains("password authentication failed"), "it got as far as the password");
    // Leaves a journal, and what is logged while it reads.
    assert!(search.run(0, &[&["get", "quotes"][..], &range].concat()).contains("DEBUG larder::cache"));
    search.look_at_files();
    search.define(&DEFINITIONS.replace("/market\"", "/market?sslmode=nonsense\""));
    search.run(2, &["apply"]);
    // One that is written out, which is refused without being repeated.
    search.define(&DEFINITIONS.replace("${DB_PASSWORD}", "canary-written"));
    for command in ["validate", "plan", "apply"] {
        search.run(2, &[command]);
    }
    search.define(DEFINITIONS);
    server.stop();
    search.run(1, &[&["get", "quotes"][..], &range].concat());
    eprintln!("no secret in {:?}", search.searched);
    let mut kinds = [
        "outputs",
        "logs",
        "errors and their logs",
        "registry files",
        "blocks",
        "journals",
        "backups",
        "dumped definitions",
        "other files",
        "rows of the manifest",
        "command lines",
        "pages",
        "answers",
        "refusals",
        "logs of a server",
    ];
    kinds.sort_unstable();
    assert!(search.searched.keys().eq(&kinds), "something was not searched: {:?}", search.searched);
}

#[test]
fn a_token_or_url_in_a_debug_print_is_none() {
    let token = larder::server::Token::new(TOKEN).unwrap();
    let options = larder::server::Options { token: Some(token), ..larder::server::Options::default() };
    assert_clean("options", format!("{options:?} {options:#?}").as_bytes());
    let environment: larder::definition::Environment =
        [("DB_PASSWORD", PASSWORD), ("DATABASE_URL", "postgres://reader:canary-url-77aa@127.0.0.1:1/market")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
    let definitions =
        larder::definition::Definitions::of_texts([("a.toml".into(), DEFINITIONS.to_owned())], environment.clone())
            .unwrap();
    assert_clean("definitions", format!("{definitions:?} {environment:?}").as_bytes());
    for source in definitions.sources().keys() {
        assert_clean("rows", definitions.rows_of(source).unwrap().to_string().as_bytes());
    }
    let url = larder::definition::PostgresUrl::new("postgres://reader:${DB_PASSWORD}@db/market").unwrap();
    let secret = url.expand(&environment).unwrap();
    assert!(secret.reveal().contains(ESCAPED));
    assert_clean("a url", format!("{url:?} {secret:?}").as_bytes());
}
