//! Requests and arguments that mean harm.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::server::{Options, Server};

use super::outside::{Canary, Snapshot};
use crate::cli::{Larder, code, stderr};
use crate::desk::{Desk, minutes, range, symbol, view};
use crate::http::get;
use crate::mutate::{Dice, mutate, times};

const WORDS: [&[u8]; 24] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b"%00",
    b"%2e%2e%2f",
    b"../../etc/passwd",
    b"'; DROP TABLE manifest; --",
    b"\"",
    b"<script>",
    b"Content-Length: 18446744073709551615\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n",
    b"HTTP/9.9",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST",
    b"CONNECT",
    b"limit=18446744073709551616",
    b"after=18446744073709551615",
    b"day=9999-12-31",
    b"entity=%F0%28%8C%28",
    b"view=a&view=b",
    b"&&&===",
];

const HONEST: [&str; 7] = [
    "GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer 0123456789abcdef\r\nConnection: close\r\n\r\n",
    "GET /blocks?view=prices&entity=symbol%3DEURUSD&day=2024-03-01&limit=10&after=0 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET /slo?view=prices HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nConnection: close\r\n\r\n",
    "GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\r\nConnection: close\r\n\r\n",
    "GET /slo HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{\"view\": \"a\"}\n",
    "POST /health HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
];

/// What the server answers to these bytes, after which nothing more comes.
fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        // The connection may be reset, but it does not stay open without an answer.
        let hangs = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!hangs, "no answer to {:?}", String::from_utf8_lossy(request));
    }
    answer
}

fn status(answer: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(answer.get(..answer.len().min(20))?).into_owned();
    text.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// How often a thread of a server has panicked since this was asked first: its client would only see a connection that is
/// closed.
fn panics() -> usize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some("larder-server") {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            told(panic);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

#[test]
fn requests_changed_at_random_are_answered_or_refused_and_the_service_stays_up() {
    let (count, panicked) = (times(3_000, 100_000), panics());
    let desk = Desk::new();
    let store = desk.open();
    store.get_or_compute(&view(), &symbol("EURUSD"), range("2024-03-01", "2024-03-02"), minutes).unwrap();
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), ..Options::default() };
    let server = Server::start(&store, options).unwrap();
    Canary::new(desk.dir.path());
    let cache = desk.dir.path().join("cache");
    let before = Snapshot::of(desk.dir.path(), &cache);
    let (mut good, mut refused, mut closed) = (0, 0, 0);
    for seed in 0..count {
        let mut dice = Dice::new(seed);
        let request = mutate(HONEST[dice.roll(HONEST.len())].as_bytes(), &WORDS, &mut dice);
        let answer = exchange(server.address(), &request);
        match status(&answer) {
            Some(200) => good += 1,
            // Any but those of a server that failed.
            Some(400..=499 | 501 | 503 | 505) => refused += 1,
            None if answer.is_empty() => closed += 1,
            other => panic!("seed {seed}: {other:?} {} to {request:?}", String::from_utf8_lossy(&answer)),
        }
    }
    assert_eq!(panics(), panicked, "a server panicked");
    assert_eq!(get(server.address(), "/health").status, 200);
    let metrics = get(server.address(), "/metrics");
    assert_eq!(metrics.metric("featurestore_http_requests_total{path=\"other\",status=\"5xx\"}").unwrap_or(0.0), 0.0);
    assert!(!metrics.body.contains("passwd") && !metrics.body.contains("DROP"), "nothing of a request is a label");
    assert_eq!(Snapshot::of(desk.dir.path(), &cache), before);
    eprintln!("{count} changed requests: {good} answered, {refused} refused, {closed} closed, 0 panics");
    assert!(good > 0 && refused > 0);
}

#[test]
fn parameters_that_are_sql_or_patterns_find_nothing_and_change_nothing() {
    let desk = Desk::new();
    let store = desk.open();
    let names = ["EURUSD", "A'B", "*", "%"];
    for name in names {
        store.get_or_compute(&view(), &symbol(name), range("2024-03-01", "2024-03-02"), minutes).unwrap();
    }
    store.flush();
    let options = Options { listen: "127.0.0.1:0".parse().unwrap(), ..Options::default() };
    let server = Server::start(&store, options).unwrap();
    let total = |entity: &str| {
        let escaped: String = entity.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = get(server.address(), &format!("/blocks?entity={escaped}"));
        assert_eq!(answer.status, 200, "{entity}: {answer:?}");
        answer.json()["total"].as_u64().unwrap()
    };
    for name in names {
        assert_eq!((total(name), total(&format!("symbol={name}"))), (1, 1), "{name}");
    }
    for other in
        ["' OR 1=1 --", "_", "EUR%", "EUR*", "'; DELETE FROM manifest; --", "[A-Z]*", "\"", "\\", "symbol=", "eurusd"]
    {
        assert_eq!(total(other), 0, "{other}");
    }
    assert_eq!(get(server.address(), "/blocks").json()["total"], 4);
}

#[test]
fn arguments_that_mean_harm_are_refused_or_mean_themselves() {
    let larder = Larder::with_demo();
    let home = larder.path("");
    let before = Snapshot::of(&home, &larder.cache());
    let blocks = larder.blocks().len();
    let nasty = [
        "../../x",
        "..",
        "/etc/passwd",
        "*",
        "'; DROP TABLE manifest; --",
        "%2e%2e",
        "",
        "[A-Z]",
        "--",
        "demo_features/../x",
        "a\nb",
    ];
    let mut ran = 0;
    for word in nasty {
        for command in [
            vec!["get", word, "--entity", "symbol=EURUSD", "--start", "2024-03-01", "--end", "2024-03-02"],
            vec!["get", "demo_features", "--entity", word, "--start", word, "--end", "2024-03-02"],
            vec!["invalidate", "--view", word],
            vec!["invalidate", "--view", "demo_features", "--entity", word],
            vec!["explain", word],
            vec!["views", "describe", word],
            vec!["warm", "--view", word, "--start", "2024-03-01"],
            vec!["sql", word],
        ] {
            let output = larder.run(command.iter().copied());
            assert!(code(&output) <= 2 && !stderr(&output).contains("panicked"), "{command:?}: {}", stderr(&output));
            // Each is a command that there is.
            assert!(word == "--" || !stderr(&output).contains("unexpected argument"), "{command:?}");
            ran += 1;
        }
    }
    assert_eq!(larder.blocks().len(), blocks, "nothing else was invalidated");
    assert_eq!(Snapshot::of(&home, &larder.cache()), before);
    eprintln!(
        "{ran} commands with hostile arguments: 0 panics, 0 files outside the cache, {blocks} of {blocks} blocks left"
    );
}
