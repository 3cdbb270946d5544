//! A month of six views as journals have it, with an incident in it.

use std::path::Path;
use std::time::Duration;

use larder::manifest::{BlockRow, Invalidation, Journal, Record};
use larder::model::{Fingerprint, MissReason, ViewName};
use larder::{EntityKey, Outcome, Timestamp};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;
/// How long an incident lasts, in minutes.
const INCIDENT: i64 = 360;

/// What an entity may be called: markup, another direction of writing, and as long as a key may be.
pub fn nasty() -> [String; 3] {
    let markup = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'&amp;";
    [markup.to_owned(), "\u{202e}שלום EURUSD".to_owned(), "W".repeat(300)]
}

const SYMBOLS: [&str; 8] = ["EURUSD", "GBPUSD", "USDJPY", "AUDUSD", "USDCHF", "NZDUSD", "USDCAD", "EURGBP"];

/// A view: its name, its requests in ten busy minutes, and how many of a thousand miss at most.
const VIEWS: [(&str, i64, i64); 6] = [
    ("technical_features", 5200, 28),
    ("momentum_15d", 2600, 34),
    ("order_flow_imbalance", 1400, 71),
    ("macro_calendar", 320, 7),
    ("realised_volatility", 900, 39),
    ("spread_and_depth_by_venue", 60, 130),
];

/// Writes the journal of a cache directory. The incident began so many minutes before `now`.
pub fn write(cache_dir: &Path, now: Timestamp, incident: i64) {
    let journal = Journal::create(cache_dir).unwrap();
    let this_minute = now.minute();
    for day in (0..30).rev() {
        let mut records = Vec::new();
        // The last days in more detail.
        let step = if day < 2 { 5 } else { 15 };
        for ago in (day * 1440..(day + 1) * 1440).step_by(step) {
            for (at, view) in VIEWS.iter().enumerate() {
                let ill = at < 3 && (incident - INCIDENT..=incident).contains(&ago);
                requests(&mut records, view, this_minute - ago, step as i64, ill);
            }
        }
        journal.append(&records).unwrap();
    }
    journal.append(&blocks(now)).unwrap();
    journal.append(&misses(this_minute, incident)).unwrap();
    journal.append(&invalidations(now, incident)).unwrap();
    let seen = VIEWS.map(|(name, ..)| Record::ViewSeen {
        at: now,
        view: view(name),
        fingerprint: fingerprint(name),
        definition: "{}".to_owned(),
    });
    journal.append(&seen).unwrap();
}

fn view(name: &str) -> ViewName {
    ViewName::new(name).unwrap()
}

fn fingerprint(name: &str) -> Fingerprint {
    format!("{:032x}", name.len()).parse().unwrap()
}

fn entity(name: &str) -> EntityKey {
    EntityKey::new([("symbol", name)]).unwrap()
}

/// The same numbers at every run, which look as if they were not.
fn noise(seed: i64) -> i64 {
    (seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33).rem_euclid(100)
}

fn requests(records: &mut Vec<Record>, (name, at_noon, misses): &(&str, i64, i64), minute: i64, step: i64, ill: bool) {
    let hour = (minute % 1440) as f64 / 60.0;
    let busy = 0.35 + 0.65 * (-((hour - 13.0) / 5.0).powi(2)).exp();
    let chance = noise(minute * 31 + name.len() as i64);
    let all = ((at_noon * step) as f64 / 10.0 * busy * (0.85 + 0.003 * chance as f64)) as i64;
    let per_thousand = if ill { 480 + chance } else { misses * (60 + chance) / 100 };
    let bad = all * per_thousand / 1000;
    let counts = [
        (Outcome::Hit, (all - bad) * 96 / 100),
        (Outcome::Stale, (all - bad) - (all - bad) * 96 / 100),
        (Outcome::Miss, bad * 45 / 100),
        (Outcome::Partial, bad * 40 / 100),
        (Outcome::Coalesced, bad * if ill { 12 } else { 4 } / 100),
        (Outcome::Fallback, if ill { bad * 3 / 100 } else { 0 }),
        (Outcome::Error, if ill { bad / 100 } else { i64::from(chance > 97) }),
    ];
    for (outcome, count) in counts {
        if count > 0 {
            records.push(Record::Requests { minute, view: view(name), outcome, count: count as u64 });
        }
    }
}

fn blocks(now: Timestamp) -> Vec<Record> {
    let today = now.as_ns().div_euclid(DAY * 1_000_000_000);
    let mut records = Vec::new();
    for (at, (name, ..)) in VIEWS.iter().enumerate() {
        for symbol in SYMBOLS {
            for day in today - 60 - at as i64 * 9..=today {
                let (start, end) = (Timestamp::from_secs(day * DAY), Timestamp::from_secs((day + 1) * DAY));
                let known = now.saturating_sub(Duration::from_secs(60 + 700 * (at * at) as u64));
                let block = BlockRow {
                    view: view(name),
                    fingerprint: fingerprint(name),
                    entity: entity(symbol),
                    start,
                    end,
                    known_until: end.min(known),
                    rows: 1440,
                    bytes: 2_400_000 * (6 - at as u64),
                    created: start,
                    compute_ms: 12.5,
                    input_version: None,
                    file: format!("{name}/{symbol}/{day}"),
                    last_used: now,
                    uses: 3,
                    newest: Some(end.min(known)),
                };
                records.push(Record::Published { block, stats: Vec::new() });
            }
        }
    }
    records
}

fn misses(this_minute: i64, incident: i64) -> Vec<Record> {
    let mut records = Vec::new();
    let mut missed = |name: &str, symbol: &str, reason, count| {
        records.push(Record::Missed {
            minute: this_minute - 30,
            view: view(name),
            entity: entity(symbol),
            reason,
            count,
        });
    };
    for (at, (name, at_noon, per_thousand)) in VIEWS.iter().enumerate() {
        for (place, symbol) in SYMBOLS.iter().enumerate() {
            let count = (at_noon * per_thousand / 40 / (place as i64 + 1)).max(1) as u64;
            missed(name, symbol, MissReason::Tail, count);
            if (place + at) % 3 == 0 {
                missed(name, symbol, MissReason::Expired, count / 3 + 1);
            }
        }
    }
    if incident < 1440 {
        missed("technical_features", "EURUSD", MissReason::Absent, 18_344);
        missed("technical_features", "GBPUSD", MissReason::Absent, 9120);
    }
    for name in &nasty() {
        missed("spread_and_depth_by_venue", name, MissReason::Corrupt, 900);
    }
    records
}

fn invalidations(now: Timestamp, incident: i64) -> Vec<Record> {
    let ago = |minutes: i64| now.saturating_sub(Duration::from_secs((minutes * MINUTE) as u64));
    let one = |minutes: i64, name: &str, symbol: Option<&str>, range: (Timestamp, Timestamp), cause: &str, blocks| {
        Record::Invalidated(Invalidation {
            at: ago(minutes),
            view: view(name),
            entity: symbol.map(entity),
            start: range.0,
            end: range.1,
            cause: cause.to_owned(),
            blocks,
        })
    };
    let midnight = Timestamp::from_secs(now.as_ns().div_euclid(DAY * 1_000_000_000) * DAY);
    let days = |first: i64, last: i64| {
        (
            midnight.saturating_sub(Duration::from_secs((first * DAY) as u64)),
            midnight.saturating_sub(Duration::from_secs((last * DAY) as u64)),
        )
    };
    let all = (Timestamp::MIN, Timestamp::MAX);
    vec![
        one(incident + 4, "technical_features", None, all, "bars of the whole venue were corrected", 488),
        one(700, "momentum_15d", Some("EURUSD"), days(3, 2), "late ticks", 1),
        one(2100, "order_flow_imbalance", Some(&nasty()[0]), days(9, 2), "<b>vendor</b> resent the file", 7),
        one(9000, "macro_calendar", None, (midnight, Timestamp::MAX), "revision of the calendar", 8),
        one(22_000, "realised_volatility", Some("USDJPY"), days(30, 0), "operator", 30),
    ]
}
