//! The shipped files of Prometheus and Alertmanager, with every duration made short.
//!
//! Everything is divided by 60, except where the table says otherwise:
//! - windows of an hour and more are divided by more, so that a fault leaves them within the test. Their order stays.
//! - the window that is compared with the gauge `featurestore_hit_ratio` keeps its 5 minutes, as the gauge does.
//!
//! It is text that is changed, line by line, and what looks like a duration and is not understood is a failure:
//! a rule that slipped through at its full length would never fire here.

/// Windows in seconds, and what they become.
const WINDOWS: &[(&str, &str)] = &[
    ("5m", "5s"),
    ("15m", "15s"),
    ("30m", "30s"),
    ("1h", "33s"),
    ("2h", "36s"),
    ("6h", "40s"),
    ("1d", "50s"),
    ("3d", "60s"),
    ("7d", "2h"),
    ("30d", "12h"),
];
/// Waiting times that are divided by more than 60: nobody waits a minute for a ticket or for word of its end.
const SHORTER_WAITS: &[(&str, &str, &str)] = &[("group_interval", "1h", "10s"), ("for", "1h", "20s")];
/// Keys whose value is a time to wait.
const WAITS: &[&str] = &[
    "interval",
    "for",
    "keep_firing_for",
    "group_wait",
    "group_interval",
    "repeat_interval",
    "scrape_interval",
    "evaluation_interval",
];
/// Recorded over the time over which the gauge counts, which no setting changes.
const REAL_TIME: &str = "featurestore:instance_hit_ratio_5m";
/// Seconds that are written as numbers: each has to be there exactly once.
///
/// Folding takes as long as it does, in a hurry or not: several such stacks on two cores need seconds for it.
const NUMBERS: &[(&str, &str)] =
    &[("featurestore_last_fold_timestamp_seconds) > 300", "featurestore_last_fold_timestamp_seconds) > 20")];

/// The rules or settings in `text`, in a hurry. `numbers` says whether those of [`NUMBERS`] have to be in it.
pub fn hurry(text: &str, numbers: bool) -> String {
    let mut record = String::new();
    let mut hurried = String::new();
    for line in text.lines() {
        let (code, comment) = split_comment(line);
        let key_and_value = code.trim().trim_start_matches("- ").split_once(':');
        if let Some((key @ ("record" | "alert"), value)) = key_and_value {
            record = if key == "record" { value.trim().to_owned() } else { String::new() };
        }
        hurried += &match key_and_value {
            Some((key, value)) if WAITS.contains(&key) => code.replace(value.trim(), &wait(key, value.trim(), line)),
            // A label, not a time.
            Some(("window", _)) => code.to_owned(),
            _ => windows(code, record == REAL_TIME),
        };
        hurried += comment;
        hurried.push('\n');
    }
    for (from, to) in NUMBERS.iter().filter(|_| numbers) {
        assert_eq!(hurried.matches(from).count(), 1, "{from} should be there once");
        hurried = hurried.replace(from, to);
    }
    hurried
}

fn split_comment(line: &str) -> (&str, &str) {
    // The # of a link has no space before it.
    match line.match_indices('#').find(|(at, _)| line[..*at].chars().next_back().is_none_or(char::is_whitespace)) {
        Some((at, _)) => line.split_at(at),
        None => (line, ""),
    }
}

fn wait(key: &str, value: &str, line: &str) -> String {
    if let Some((_, _, shorter)) = SHORTER_WAITS.iter().find(|(k, v, _)| (*k, *v) == (key, value)) {
        return (*shorter).to_owned();
    }
    let milliseconds = seconds(value).unwrap_or_else(|| panic!("a wait that is not understood: {line}")) * 1000 / 60;
    // Two evaluations a second are enough, and as many as several such stacks on two cores keep up with.
    let at_least = if key.ends_with("interval") { 500 } else { 0 };
    format!("{}ms", milliseconds.max(at_least))
}

/// Replaces `[5m]`; any other word that reads like a duration is a failure.
fn windows(code: &str, real_time: bool) -> String {
    let mut done = String::new();
    let mut rest = code;
    while let Some(begin) = rest.find(is_word) {
        let word = &rest[begin..][..rest[begin..].find(|c| !is_word(c)).unwrap_or(rest.len() - begin)];
        let (before, after) = (&rest[..begin], &rest[begin + word.len()..]);
        done += before;
        let is_window = done.ends_with('[') && after.starts_with(']');
        let short = WINDOWS.iter().find(|(from, _)| *from == word).map(|(_, to)| *to);
        done += match short.filter(|_| is_window) {
            Some(_) if real_time => word,
            Some(short) => short,
            None if reads_like_a_duration(word) => panic!("a duration that is not understood: {word} in {code}"),
            None => word,
        };
        rest = after;
    }
    done + rest
}

fn reads_like_a_duration(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && word.contains(['s', 'm', 'h', 'd', 'w', 'y'])
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':' || c == '.'
}

/// Of `90s`, `5m`, `1h` or `3d`; none for what is no duration of one unit.
fn seconds(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u64>().ok().map(|count| count * unit)
}

#[test]
fn windows_and_waits_become_short_and_nothing_else_changes() {
    let rules = "  - alert: A # for: 9h\n    expr: x_5m[1h] > 5 and y{window=\"a\"}\n    for: 10m\n    labels: {}\n";
    let hurried =
        "  - alert: A # for: 9h\n    expr: x_5m[33s] > 5 and y{window=\"a\"}\n    for: 10000ms\n    labels: {}\n";
    assert_eq!(hurry(rules, false), hurried);
    let gauge =
        "- record: featurestore:instance_hit_ratio_5m\n  expr: rate(x[5m])\n- record: other\n  expr: rate(x[5m])\n";
    let both =
        "- record: featurestore:instance_hit_ratio_5m\n  expr: rate(x[5m])\n- record: other\n  expr: rate(x[5s])\n";
    assert_eq!(hurry(gauge, false), both);
}

#[test]
fn a_duration_that_is_not_understood_stops_the_game_day() {
    for line in ["expr: x offset 5m", "expr: x[7m]", "expr: x[5m:1m]", "for: 1h30m", "timeout: 10s"] {
        let failed = std::panic::catch_unwind(|| hurry(line, false));
        assert!(failed.is_err(), "{line} became {:?}", failed.ok());
    }
}

#[test]
fn the_order_of_the_windows_stays() {
    let long = |text: &&str| seconds(text).unwrap();
    assert!(WINDOWS.is_sorted_by_key(|(from, _)| long(from)) && WINDOWS.is_sorted_by_key(|(_, to)| long(to)));
}
