//! The status page in a browser.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use larder::clock::ManualClock;
use larder::inspect::health::Level;
use larder::inspect::{SilentFacts, StatusFacts, Verdict};
use larder::manifest::{Journal, Manifest, Record};
use larder::server::page::{CONTENT_SECURITY_POLICY, render, render_silent};
use larder::store::{CacheDir, Publish};
use larder::{EntityKey, Error, ErrorKind, MissReason, Outcome, Settings, Timestamp, ViewName};
use serde_json::json;

use crate::browser::Browser;
use crate::tools::tool;
use crate::{desk, month};

/// The facts of a cache whose journal has the month; the incident began so many minutes ago.
fn facts(incident: i64) -> StatusFacts {
    let now = desk::time("2026-11-21T03:12:45Z");
    read(now, |dir| month::write(dir, now, incident))
}

fn read(now: Timestamp, write: impl FnOnce(&std::path::Path)) -> StatusFacts {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let manifest = Manifest::new(dir.path(), Arc::new(ManualClock::new(now.as_ns())));
    let cache = CacheDir::open(dir.path(), Publish::Fast, "page").unwrap();
    let mut facts = StatusFacts::gather(&cache, &manifest, &Settings::default(), now).unwrap();
    facts.disk.free = 212_000_000_000;
    facts
}

/// Serves one page at `/` until the test program ends, and returns its address.
fn serve(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else { continue };
            let _ = lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count();
            let (status, body) =
                if first.starts_with("GET / ") { ("200 OK", page.as_str()) } else { ("404 Not Found", "") };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
                 Content-Security-Policy: {CONTENT_SECURITY_POLICY}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

/// Everything that has to hold of the page at `url`, whoever serves it. Pictures are kept under `name`.
fn check_page(url: &str, name: &str) {
    let Some(mut browser) = browser() else { return };
    for (device, width, height) in [("desktop", 1280, 900), ("phone", 390, 844), ("narrow", 360, 640)] {
        for scheme in ["light", "dark"] {
            browser.look(width, height, scheme);
            browser.open(url);
            assert_eq!(faults(&mut browser, url), [""; 0], "{name}, {device}, {scheme}");
            if device != "narrow" {
                keep(&format!("{name}-{device}-{scheme}.png"), &browser.screenshot());
            }
        }
    }
}

fn browser() -> Option<Browser> {
    tool("chromium").map(|program| Browser::start(&program))
}

/// What is wrong with the open page, in the size and the light in which it is open.
fn faults(browser: &mut Browser, url: &str) -> Vec<String> {
    let mut faults = browser.complaints();
    faults
        .extend(browser.requests().into_iter().filter(|asked| asked != url).map(|asked| format!("asked for {asked}")));
    // Not the inner width of the window: a phone makes that as wide as the page.
    let wide = browser.value("document.scrollingElement.scrollWidth").as_u64().unwrap();
    if wide > u64::from(browser.width) {
        faults.push(format!("wider than the window: {wide} > {}", browser.width));
    }
    for (what, expression) in [
        ("text without contrast", FAINT_TEXTS),
        ("name that is missing or stands twice", DANGLING),
        ("script", "[...document.scripts].map(script => script.outerHTML)"),
        ("headings", "document.querySelectorAll('h1').length === 1 ? [] : ['not one h1']"),
    ] {
        let found = browser.value(expression);
        faults.extend(found.as_array().unwrap().iter().map(|fault| format!("{what}: {fault}")));
    }
    faults
}

/// Where pictures go: `LARDER_SCREENSHOTS`, or nowhere that lasts.
fn keep(file: &str, picture: &[u8]) {
    assert!(picture.starts_with(b"\x89PNG"), "{file}");
    if let Some(directory) = std::env::var_os("LARDER_SCREENSHOTS").map(PathBuf::from) {
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(file), picture).unwrap();
    }
}

/// Texts whose contrast is below what WCAG 2.2 asks for at level AA (1.4.3), computed as it says.
const FAINT_TEXTS: &str = r"(() => {
    const parse = text => text.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const [R, G, B] = [r, g, b].map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * R + 0.7152 * G + 0.0722 * B;
    };
    const ground = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = parse(getComputedStyle(e).backgroundColor);
            if (colour.length < 4 || colour[3] === 1) return colour;
        }
        return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
    };
    const faint = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || ['title', 'desc'].includes(element.localName)) continue;
        const style = getComputedStyle(element);
        const colour = parse(element instanceof SVGElement ? style.fill : style.color);
        const [a, b] = [light(colour), light(ground(element))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        const large = parseFloat(style.fontSize) >= 24;
        const text = walker.currentNode.textContent.trim().slice(0, 40);
        if (ratio < (large ? 3 : 4.5)) faint.add(`${ratio.toFixed(2)} ${text}`);
    }
    return [...faint];
})()";

/// Names of elements that are used and do not exist, or exist twice.
const DANGLING: &str = r"(() => {
    const wrong = [];
    for (const attribute of ['aria-labelledby', 'aria-describedby'])
        for (const element of document.querySelectorAll(`[${attribute}]`))
            if (!document.getElementById(element.getAttribute(attribute))) wrong.push(element.getAttribute(attribute));
    for (const element of document.querySelectorAll('[id]'))
        if (document.querySelectorAll(`[id='${element.id}']`).length > 1) wrong.push(element.id);
    return wrong;
})()";

/// How many points the shapes of one chart have, and how large its largest shape is on the screen.
fn shapes(browser: &mut Browser, chart: &str) -> (u64, u64, u64) {
    let shapes = browser.value(&format!(
        "(() => {{ const chart = document.querySelector('[aria-labelledby=\"{chart}-title\"]');
            const shapes = [...chart.querySelectorAll('polyline, polygon')];
            const boxes = shapes.map(shape => shape.getBoundingClientRect());
            return [Math.max(0, ...shapes.map(shape => shape.points.length)),
                Math.round(Math.max(0, ...boxes.map(box => box.width))),
                Math.round(Math.max(0, ...boxes.map(box => box.height)))]; }})()"
    ));
    let number = |at: usize| shapes[at].as_u64().unwrap();
    (number(0), number(1), number(2))
}

#[test]
fn a_month_with_an_incident_is_fit_for_a_desk_and_a_phone_by_day_and_by_night() {
    check_page(&serve(render(&facts(2 * 1440), "/")), "calm");
}

#[test]
fn an_incident_that_is_going_on_has_a_page() {
    let facts = facts(300);
    let failed = facts.checks.iter().find(|check| check.level == Level::Fail).unwrap();
    assert_eq!(failed.alert, Some("FeatureStoreHitRatioCritical"), "{:?}", facts.checks);
    check_page(&serve(render(&facts, "/")), "incident");
}

#[test]
fn an_empty_cache_has_a_page() {
    let facts = read(desk::time("2026-11-21T03:12:45Z"), |_| ());
    assert!(facts.views.is_empty() && facts.burn_down.is_empty());
    check_page(&serve(render(&facts, "/")), "empty");
}

#[test]
fn a_first_day_of_few_requests_on_a_small_disk_has_a_page() {
    let now = desk::time("2026-11-21T03:12:45Z");
    let mut facts = read(now, |dir| {
        let view = ViewName::new("demo_features").unwrap();
        let entity = EntityKey::new([("symbol", "EURUSD")]).unwrap();
        let minute = now.minute() - 3;
        let request = |outcome, count| Record::Requests { minute, view: view.clone(), outcome, count };
        let miss = |reason, count| Record::Missed { minute, view: view.clone(), entity: entity.clone(), reason, count };
        let records = [
            request(Outcome::Hit, 16),
            request(Outcome::Miss, 8),
            miss(MissReason::Absent, 53),
            miss(MissReason::Tail, 1),
        ];
        Journal::create(dir).unwrap().append(&records).unwrap();
    });
    assert_eq!(facts.verdict, Verdict::TooFewRequests);
    facts.disk.free = 20_000_000_000;
    check_page(&serve(render(&facts, "/")), "few");
}

#[test]
fn a_manifest_that_is_held_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheDir::open(dir.path(), Publish::Fast, "page").unwrap();
    let why = "manifest /var/cache/larder/manifest.duckdb is open in another program: close it there, or retry: \
               Conflicting lock is held in /usr/bin/duckdb (PID 4711)";
    let held = Error::new(ErrorKind::Busy, why);
    let facts = SilentFacts::gather(held, &cache, &Settings::default(), desk::time("2026-11-21T03:12:45Z"));
    assert!(facts.checks.len() > 4, "{:?}", facts.checks);
    check_page(&serve(render_silent(&facts, "/")), "held");
}

#[test]
fn the_charts_show_the_requests() {
    let Some(mut browser) = browser() else { return };
    let url = serve(render(&facts(2 * 1440), "/"));
    for (width, at_least) in [(1280, 500), (360, 250)] {
        browser.look(width, 800, "light");
        browser.open(&url);
        let (points, wide, high) = shapes(&mut browser, "burn-down");
        assert!(points > 700 && wide >= at_least && high > 150, "{points} points, {wide} x {high}");
        for (chart, height) in [("day-ratio", 5), ("day-requests", 100)] {
            let (points, wide, high) = shapes(&mut browser, chart);
            assert!(points >= 192 && wide >= at_least && high > height, "{chart}: {points} points, {wide} x {high}");
        }
    }
}

#[test]
fn the_page_agrees_with_the_facts() {
    let Some(mut browser) = browser() else { return };
    let facts = facts(2 * 1440);
    browser.look(1280, 900, "light");
    browser.open(&serve(render(&facts, "/")));
    let rows = browser.value("[...document.querySelectorAll('#views ~ table tbody th')].map(th => th.textContent)");
    let names: Vec<_> = facts.views.iter().map(|view| view.view.to_string()).collect();
    assert_eq!(rows, json!(names));
    let entities = browser.value("[...document.querySelectorAll('bdi')].map(bdi => bdi.textContent)");
    for name in month::nasty() {
        let shown = entities.as_array().unwrap().iter().any(|text| text == &json!(format!("symbol={name}")));
        assert!(shown, "{name} is not on the page as it is: {entities}");
    }
}

#[test]
fn a_page_with_a_fault_does_not_pass() {
    let Some(mut browser) = browser() else { return };
    let page = render(&facts(2 * 1440), "/");
    browser.look(360, 640, "light");
    for (good, bad, fault) in [
        (
            "<main>",
            "<main><pre>too long to fit on any phone, and nobody told it where it might be broken</pre>",
            "wider",
        ),
        ("--muted: #596270", "--muted: #a0a5aa", "text without contrast"),
        ("id=\"burn-down-title\"", "id=\"slo\"", "name that is missing or stands twice"),
        ("<main>", "<main><img alt=\"\" src=\"http://127.0.0.1:9/\">", "img-src"),
        ("<main>", "<main><script>alert(1)</script>", "script-src"),
        ("<main>", "<main><h1>Another</h1>", "headings"),
    ] {
        assert!(page.contains(good), "{good}");
        let url = serve(page.replacen(good, bad, 1));
        browser.open(&url);
        let found = faults(&mut browser, &url);
        assert!(found.iter().any(|found| found.contains(fault)), "{fault}: {found:?}");
    }
    let url = serve(page);
    browser.open(&url);
    assert_eq!(faults(&mut browser, &url), [""; 0]);
}
