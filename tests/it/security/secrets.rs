//! Secrets that are looked for in everything that Larder prints, answers or writes.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::cli::{Larder, walk};
use crate::http::{get, send};

const TOKEN: &str = "canary-token-9f2e4c7a1b3d";
const PASSWORD: &str = "canary/pass@word-51c8";
const ESCAPED: &str = "canary%2Fpass%40word-51c8";
const URL: &str = "postgres://reader:canary-url-77aa@127.0.0.1:1/market";

const DEFINITIONS: &str = r#"
[entity.symbol]

[source.quotes]
kind = "postgres"
url = "postgres://reader:${DB_PASSWORD}@127.0.0.1:1/market"
table = "quotes"
event_time = "at"
types = { bid = "double" }

[source.whole]
kind = "postgres"
url = "${DATABASE_URL}"
table = "quotes"
event_time = "at"
types = { bid = "double" }

[source.broken]
kind = "postgres"
url = "postgres://reader:${DB_PASSWORD}@127.0.0.1:1/market?sslmode=nonsense"
table = "quotes"
event_time = "at"
types = { bid = "double" }

[view.quotes]
entity = "symbol"
source = "quotes"
[view.quotes.features]
bid = { column = "bid" }

[view.whole]
entity = "symbol"
source = "whole"
[view.whole.features]
whole_bid = { column = "bid" }

[service.model]
features = ["quotes.bid", "whole.whole_bid"]
"#;

/// Fails where a text holds a secret.
fn assert_clean(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for secret in [TOKEN, PASSWORD, ESCAPED, "canary-url-77aa", "canary"] {
        assert!(!text.contains(secret), "{what} holds {secret}:\n{text}");
    }
}

fn with_secrets(mut command: Command) -> Command {
    command
        .env("LARDER_TOKEN", TOKEN)
        .env("DB_PASSWORD", PASSWORD)
        .env("DATABASE_URL", URL)
        .env("LARDER_LOG", "trace")
        .env("RUST_BACKTRACE", "full");
    command
}

fn assert_no_file_holds_one(larder: &Larder, but: &[&Path]) -> usize {
    let mut count = 0;
    walk(&larder.path(""), &mut |path| {
        if path.is_file() && !but.contains(&path) {
            assert_clean(&path.display().to_string(), &std::fs::read(path).unwrap());
            count += 1;
        }
    });
    count
}

#[test]
fn no_secret_is_in_anything_that_is_printed_answered_or_written() {
    let larder = Larder::with_demo();
    std::fs::create_dir_all(larder.path("config/features")).unwrap();
    std::fs::write(larder.path("config/features/desk.toml"), DEFINITIONS).unwrap();
    let file = larder.path("token");
    std::fs::write(&file, TOKEN).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let range = ["--entity", "symbol=EURUSD", "--start", "2024-03-06", "--end", "2024-03-07"];
    let get_of = |view: &'static str| [vec!["get", view], range.to_vec()].concat();
    let mut outputs = 0;
    for command in [
        vec!["validate"],
        vec!["plan"],
        vec!["apply"],
        vec!["registry"],
        vec!["registry", "list"],
        vec!["registry", "show", "1"],
        vec!["registry", "backup", "backup.json"],
        vec!["sources"],
        vec!["sources", "quotes"],
        vec!["sources", "whole"],
        vec!["sources", "broken"],
        vec!["views"],
        vec!["views", "quotes"],
        vec!["views", "whole"],
        vec!["services", "model"],
        get_of("quotes"),
        get_of("whole"),
        get_of("model"),
        vec!["warm", "quotes"],
        vec!["warm"],
        vec!["explain"],
        vec!["stats"],
        vec!["slo"],
        vec!["verify"],
        vec!["repair"],
        vec!["doctor"],
        vec!["serve", "--listen", "256.0.0.1:1"],
        vec!["serve", "--listen", "127.0.0.1:0", "--token-file", "nowhere"],
    ] {
        for json in [false, true] {
            let more = json.then_some("--json");
            let output = with_secrets(larder.command(command.iter().copied().chain(more))).output().unwrap();
            assert_clean(&format!("{command:?} stdout"), &output.stdout);
            assert_clean(&format!("{command:?} stderr"), &output.stderr);
            assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{command:?} said nothing");
            outputs += 2;
        }
    }
    // One that is written out, which is refused without being repeated.
    std::fs::write(larder.path("config/features/desk.toml"), DEFINITIONS.replace("${DB_PASSWORD}", "canary-written"))
        .unwrap();
    for command in ["validate", "plan", "apply"] {
        let output = with_secrets(larder.command([command])).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{command}");
        assert_clean(&format!("{command} of a written password"), &[output.stdout, output.stderr].concat());
        outputs += 2;
    }
    std::fs::write(larder.path("config/features/desk.toml"), DEFINITIONS).unwrap();

    let files = assert_no_file_holds_one(&larder, &[&file]);
    let answers = served(&larder, &file);
    eprintln!("{outputs} outputs, {files} files and {answers} answers: no secret in any");
    assert!(files > 10);
}

/// What a server with a token answers and logs.
fn served(larder: &Larder, file: &Path) -> usize {
    let mut answers = 0;
    for from_file in [false, true] {
        let log = larder.path("log");
        let mut command = with_secrets(larder.command(["serve", "--listen", "127.0.0.1:0", "--json"]));
        if from_file {
            command.env_remove("LARDER_TOKEN").arg("--token-file").arg(file);
        }
        let program = crate::server::Program::start_logging(command, std::fs::File::create(&log).unwrap().into());
        let command_line = std::fs::read(format!("/proc/{}/cmdline", program.id())).unwrap();
        assert_clean("the command line", &command_line);
        for path in ["/", "/metrics", "/health", "/ready", "/slo", "/blocks", "/nothing"] {
            for header in
                [format!("Authorization: Bearer {TOKEN}\r\n"), String::new(), "Authorization: Basic x\r\n".into()]
            {
                let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{header}\r\n");
                let answer = send(program.address, &request);
                assert_ne!(answer.status, 0, "{path}");
                assert_clean(path, (answer.head + &answer.body).as_bytes());
                answers += 1;
            }
        }
        assert_eq!(get(program.address, "/metrics").status, 401);
        drop(program);
        let mut said = Vec::new();
        std::fs::File::open(&log).unwrap().read_to_end(&mut said).unwrap();
        assert!(!said.is_empty(), "it logged nothing");
        assert_clean("the log", &said);
    }
    assert_no_file_holds_one(larder, &[file]);
    answers
}

#[test]
fn a_token_or_url_in_a_debug_print_is_none() {
    let token = larder::server::Token::new(TOKEN).unwrap();
    let options = larder::server::Options { token: Some(token), ..larder::server::Options::default() };
    assert_clean("options", format!("{options:?} {options:#?}").as_bytes());
    let environment: larder::definition::Environment = [("DB_PASSWORD", PASSWORD), ("DATABASE_URL", URL)]
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
