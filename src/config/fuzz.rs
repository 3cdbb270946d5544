//! Settings files and variables that are almost right.

use super::{Settings, load_from};
use crate::checkout;
use crate::mutate::{Dice, mutate, times};

const WORDS: [&[u8]; 16] = [
    b"\"30s\"",
    b"\"18446744073709551615s\"",
    b"\"-1s\"",
    b"\"1e9days\"",
    b"nan",
    b"inf",
    b"-0.0",
    b"1e308",
    b"9223372036854775807",
    b"true",
    b"[[[[",
    b"[memory]\n",
    b"[slo]\n",
    b"\"durable\"",
    b"\xff",
    b"\0",
];

/// That whatever was accepted is within its limits, and comes back from its own text.
fn check(settings: &Settings, what: &str) {
    settings.validate().unwrap_or_else(|error| panic!("{what}: {error}"));
    let text = toml::to_string(settings).unwrap();
    assert_eq!(toml::from_str::<Settings>(&text).unwrap(), *settings, "{what}: {text}");
    // What is computed from them neither overflows nor panics.
    assert!(settings.low_watermark() <= settings.high_watermark(), "{what}");
    assert!(settings.high_watermark() <= settings.size_limit().saturating_add(1), "{what}");
    let _ = (settings.retention(), settings.reserve(), settings.memory_limit(), settings.read_threads());
}

#[test]
fn a_settings_file_changed_at_random_is_read_or_refused_in_words() {
    let count = times(6_000, 200_000);
    let honest = std::fs::read(checkout::path("config/larder.toml")).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let (mut read, mut refused) = (0, 0);
    for seed in 0..count {
        std::fs::write(file.path(), mutate(&honest, &WORDS, &mut Dice::new(seed))).unwrap();
        match load_from(Some(file.path()), []) {
            Ok(settings) => {
                check(&settings, &format!("seed {seed}"));
                read += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(&file.path().display().to_string()), "seed {seed}: {error}");
                refused += 1;
            }
        }
    }
    eprintln!("{count} changed settings files: {read} read, {refused} refused by name, 0 panics");
    assert!(read > 0 && refused > 0);
}

#[test]
fn variables_changed_at_random_are_read_or_refused_in_words() {
    let count = times(20_000, 400_000);
    let honest: [(&[u8], &[u8]); 6] = [
        (b"LARDER_SLO__OBJECTIVE", b"0.99"),
        (b"LARDER_DISK__MIN_AGE", b"60s"),
        (b"LARDER_COMPUTE__MAX_BLOCKS", b"100"),
        (b"LARDER_DURABILITY", b"durable"),
        (b"FEATURE_CACHE_RETENTION_DAYS", b"7"),
        (b"LARDER_THREADS", b"4"),
    ];
    let (mut read, mut refused) = (0, 0);
    for seed in 0..count {
        let mut dice = Dice::new(seed);
        let (name, value) = honest[dice.roll(honest.len())];
        let name = if dice.roll(4) == 0 { mutate(name, &[b"__", b"SLO"], &mut dice) } else { name.to_vec() };
        let pair = [name, mutate(value, &WORDS, &mut dice)].map(|text| String::from_utf8_lossy(&text).into_owned());
        let [name, value] = pair;
        match load_from(None, [(name.clone(), value.clone())]) {
            Ok(settings) => {
                check(&settings, &format!("{name}={value}"));
                read += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains(&name), "{name}={value}: {error}");
                refused += 1;
            }
        }
    }
    eprintln!("{count} changed variables: {read} read, {refused} refused by name, 0 panics");
    assert!(read > 0 && refused > 0);
}
