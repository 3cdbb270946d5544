//! Servers that are away, slow, restarted or refuse.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::clock::ManualClock;
use larder::{ErrorKind, Outcome};

use super::*;

const BARS: &str = "CREATE TABLE bars (symbol text, at timestamptz, x double precision, PRIMARY KEY (symbol, at)); INSERT \
                    INTO bars SELECT 'A', '2024-03-05Z'::timestamptz + n * interval '1 second', n FROM \
                    generate_series(0, 199999) AS n";

#[test]
fn what_is_refused_says_what_to_do() {
    let Some(mut server) = Server::start() else { return };
    server.sql(BARS);
    server.sql("CREATE ROLE stranger LOGIN PASSWORD 'stranger'");
    let with = |url: &str, rows: &str| {
        let text = format!("[source.rows]\nkind = \"postgres\"\nurl = \"{url}\"\nevent_time = \"at\"\n{rows}");
        let passwords = [("PGPASSWORD", PASSWORD), ("WRONG", "oops-secret"), ("STRANGER", "stranger")];
        let environment: Environment =
            passwords.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
        let definitions = definitions(&text);
        let reader = Reader::open(definitions.sources().values().next().unwrap(), &environment)?;
        assert!(!format!("{reader:?} {definitions:?} {environment:?}").contains("hush"));
        reader.read(&key("A"), all(), &["x"])
    };
    let at = format!("127.0.0.1:{}", server.port);
    let good = server.url();
    let bars = "table = \"bars\"";
    let missing = "postgres://reader:${PGPASSWORD}@";
    for (url, rows, kind, part) in [
        (
            format!("postgres://reader:${{WRONG}}@{at}/market"),
            bars,
            ErrorKind::Invalid,
            "refuses the user or the password",
        ),
        (format!("postgres://reader@{at}/market"), bars, ErrorKind::Invalid, "password missing"),
        (format!("{missing}{at}/markt"), bars, ErrorKind::NotFound, "has no such database: check its url"),
        (good.clone(), "table = \"barz\"", ErrorKind::NotFound, "does not find table barz: check table or query"),
        (good.clone(), "table = \"no.bars\"", ErrorKind::NotFound, "does not find table no.bars"),
        (
            good.clone(),
            "query = \"SELECT symbol, at, y AS x FROM bars\"",
            ErrorKind::Invalid,
            "column \"y\" does not exist",
        ),
        (good.clone(), "query = \"SELEC 1\"", ErrorKind::Invalid, "does not understand what is asked of its query"),
        (
            good.clone(),
            "table = \"bars\"\ncolumns = { x = \"z\" }",
            ErrorKind::Invalid,
            "column z is not in table bars: its columns are symbol, at, x",
        ),
        (format!("postgres://stranger:${{STRANGER}}@{at}/market"), bars, ErrorKind::Invalid, "grant it SELECT"),
        (format!("{good}?sslmode=require"), bars, ErrorKind::Unavailable, "sslmode=disable"),
        (format!("{good}?sslmode=verify-full"), bars, ErrorKind::Invalid, "sslmode is disable, prefer or require"),
        (
            "postgres://reader:${PGPASSWORD}@127.0.0.1:1/market".to_owned(),
            bars,
            ErrorKind::Unavailable,
            "cannot be reached: is it running",
        ),
        (
            good.clone(),
            "query = \"SELECT symbol, at, pg_sleep(60)::text AS x FROM bars\"\nstatement_timeout = \"300ms\"",
            ErrorKind::Unavailable,
            "did not finish reading its query within 300ms: index its keys",
        ),
    ] {
        let begun = Instant::now();
        let error = with(&url, rows).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let message = error.to_string();
        assert!(message.starts_with("source rows: ") && message.contains(part), "{message}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{message}");
        for secret in ["hush", "oops-secret"] {
            assert!(!message.contains(secret) && !format!("{error:?}").contains(secret), "{error:?}");
        }
    }
    server.stop();
    assert!(with(&good, bars).unwrap_err().to_string().contains("cannot be reached"));
}

/// A server that accepts and says nothing, as one behind a dead network.
#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let text = format!(
        "[source.rows]\nkind = \"postgres\"\nurl = \"postgres://reader:${{PGPASSWORD}}@127.0.0.1:{port}/market\"\nevent_time = \
         \"at\"\ntable = \"bars\"\nconnect_timeout = \"300ms\""
    );
    let begun = Instant::now();
    let error = Reader::open(definitions(&text).sources().values().next().unwrap(), &environment()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("did not answer within 300ms"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

fn momentum(server: &Server) -> String {
    format!(
        "[entity.symbol]\n[source.bars]\nkind = \"postgres\"\nurl = \"{}\"\nevent_time = \"at\"\ntable = \
         \"bars\"\n[view.v]\nentity = \"symbol\"\nsource = \"bars\"\nmax_age = \"2s\"\nmax_stale = \
         \"1d\"\n[view.v.features]\nx = {{ column = \"x\" }}\n[view.kept]\nentity = \"symbol\"\nsource = \
         \"bars\"\n[view.kept.features]\nx = {{ column = \"x\" }}\n",
        server.url()
    )
}

#[test]
fn what_is_cached_is_answered_while_the_server_is_away_and_nothing_wrong_is_kept() {
    let Some(mut server) = Server::start() else { return };
    server.sql(BARS);
    let dir = tempfile::tempdir().unwrap();
    let features = features(dir.path(), definitions(&momentum(&server)));
    let get =
        |view: &str, start, end| features.get_or_compute(&ViewName::new(view).unwrap(), &key("A"), range(start, end));
    let (old, kept) = (get("v", "2024-03-05", "2024-03-06").unwrap(), get("kept", "2024-03-05", "2024-03-06").unwrap());
    assert_eq!((old.outcome(), old.num_rows(), kept.outcome()), (Outcome::Miss, 86_400, Outcome::Miss));
    server.stop();
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!(get("kept", "2024-03-05", "2024-03-06").unwrap().outcome(), Outcome::Hit);
    let fallback = get("v", "2024-03-05", "2024-03-06").unwrap();
    assert_eq!((fallback.outcome(), fallback.to_batch().unwrap()), (Outcome::Fallback, old.to_batch().unwrap()));
    let error = get("kept", "2024-03-06", "2024-03-07").unwrap_err();
    assert!(error.to_string().contains("source bars: PostgreSQL at 127.0.0.1"), "{error}");
    server.run();
    // Within the back-off the same error is answered again.
    let begun = Instant::now();
    let again = loop {
        match get("kept", "2024-03-06", "2024-03-07") {
            Ok(answer) => break answer,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!((again.outcome(), again.num_rows()), (Outcome::Miss, 86_400), "of the failure nothing was kept");
}

#[test]
fn a_restart_between_two_readings_is_not_seen_and_one_in_the_middle_is_an_error() {
    let Some(mut server) = Server::start() else { return };
    server.sql(BARS);
    let quick = reader(&server, "table = \"bars\"").unwrap();
    let rows = quick.read(&key("A"), all(), &["x"]).unwrap();
    server.stop();
    assert_eq!(quick.read(&key("A"), all(), &["x"]).unwrap_err().kind(), ErrorKind::Unavailable);
    server.run();
    assert_eq!(quick.read(&key("A"), all(), &["x"]).unwrap(), rows);
    server.stop();
    server.run();
    assert_eq!(quick.read(&key("A"), all(), &["x"]).unwrap(), rows, "the connection that was kept is dead");
    let slow = "query = \"SELECT symbol, at, x + length(pg_sleep(0.0002)::text) AS x FROM bars\"";
    let slow = reader(&server, slow).unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| slow.read(&key("A"), all(), &["x"]));
        std::thread::sleep(Duration::from_secs(1));
        server.stop();
        let error = reading.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("retry"), "{error}");
    });
}

#[test]
fn threads_read_at_once_and_few_connections_are_kept() {
    let Some(server) = Server::start() else { return };
    server.sql(BARS);
    let reader = reader(&server, "table = \"bars\"").unwrap();
    let day = || reader.read(&key("A"), range("2024-03-05", "2024-03-06"), &["x"]).unwrap();
    let expected = day();
    std::thread::scope(|scope| {
        let reading: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..3).all(|_| day() == expected))).collect();
        assert!(reading.into_iter().all(|thread| thread.join().unwrap()));
    });
    let open =
        || server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'").parse::<usize>().unwrap();
    let wait = |few: usize| {
        let begun = Instant::now();
        while open() > few {
            assert!(begun.elapsed() < Duration::from_secs(45), "{} connections", open());
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait(4);
    assert!(open() > 0, "one is kept for the next reading");
    wait(0);
    assert_eq!(day(), expected);
    drop(reader);
    wait(0);
}

#[test]
fn a_certificate_is_checked() {
    let made = |dir: &Path| {
        let openssl = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext \
                       subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out \
                       cert.pem && chmod 0600 key.pem && (chown postgres key.pem cert.pem || true)";
        let made = Command::new("sh").args(["-c", openssl]).current_dir(dir).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = |name: &str| dir.join(name).display().to_string();
        vec![
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("cert.pem")),
            format!("ssl_key_file={}", file("key.pem")),
        ]
    };
    let Some(server) = Server::with(made) else { return };
    server.sql(BARS);
    let larder = Larder::new();
    std::fs::create_dir_all(larder.path("config/features")).unwrap();
    let text = momentum(&server).replace("/market\"", "/market?sslmode=require\"");
    std::fs::write(larder.path("config/features/desk.toml"), text).unwrap();
    let run = |arguments: &str, trusted: Option<std::path::PathBuf>| {
        let mut command = larder.command(arguments.split(' ').chain(["--json"]));
        let output =
            command.env("PGPASSWORD", PASSWORD).envs(trusted.map(|file| ("SSL_CERT_FILE", file))).output().unwrap();
        cli::json(&output)
    };
    let get = "get kept --entity symbol=A --start 2024-03-05 --end 2024-03-06";
    run("apply", Some(server.path("cert.pem")));
    let refused = run(get, None);
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("do not agree on TLS") && message.contains("SSL_CERT_FILE"), "{message}");
    assert_eq!(run(get, Some(server.path("cert.pem")))["num_rows"], 86_400);
}

/// The clock stands still, so that nothing that is remembered grows old by itself.
#[test]
fn the_newest_row_is_asked_for_once_and_a_server_that_fell_silent_is_tried_once() {
    let Some(mut server) = Server::start() else { return };
    server.sql(BARS);
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(range("2024-06-01", "2024-06-02").start().as_ns()));
    let store = FeatureStore::builder(dir.path()).clock(clock.clone()).open().unwrap();
    let text = momentum(&server).replace("[view.v]", "connect_timeout = \"200ms\"\n[view.v]");
    let features = Features::builder(store, definitions(&text)).open().unwrap();
    let get = |day: u32| {
        let range = range(&format!("2024-03-{day:02}"), &format!("2024-03-{:02}", day + 1));
        features.get_or_compute(&ViewName::new("kept").unwrap(), &key("A"), range)
    };
    let newest = || server.log().matches("max(\"at\")").count();
    for day in 1..=5 {
        get(day).unwrap();
    }
    assert_eq!(newest(), 1);
    clock.advance(Duration::from_millis(1_001));
    get(6).unwrap();
    assert_eq!(newest(), 2);
    server.stop();
    clock.advance(Duration::from_millis(1_001));
    let silent = TcpListener::bind(("127.0.0.1", server.port)).unwrap();
    for day in 7..=9 {
        let error = get(day).unwrap_err();
        assert!(error.to_string().contains("did not answer within 200ms"), "{error}");
    }
    silent.set_nonblocking(true).unwrap();
    assert_eq!(std::iter::from_fn(|| silent.accept().ok()).count(), 1);
}
