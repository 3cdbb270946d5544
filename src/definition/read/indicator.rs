//! Indicators.

use super::super::indicator::{Encode, Indicator, Over, Period, Prices};
use super::super::zone::Zone;
use super::nearest::suggest;
use super::table::Table;
use super::value::{Positive, Value, Whole, quoted};

type Read = fn(&Table<'_>) -> Option<Indicator>;

/// Every kind with what reads its parameters. The least periods are TA-Lib's.
const KINDS: [(&str, Read); 21] = [
    ("log_return", |table| {
        let (column, over) = (table.column("column"), over(table));
        Some(Indicator::LogReturn { column: column?, over: over? })
    }),
    ("change", |table| {
        let (column, over, relative) = (table.column("column"), over(table), table.or("relative", true));
        Some(Indicator::Change { column: column?, over: over?, relative })
    }),
    ("sma", |table| series(table, 2).map(|(column, period)| Indicator::Sma { column, period })),
    ("ema", |table| series(table, 2).map(|(column, period)| Indicator::Ema { column, period })),
    ("rolling_std", |table| series(table, 2).map(|(column, period)| Indicator::RollingStd { column, period })),
    ("zscore", |table| series(table, 2).map(|(column, period)| Indicator::Zscore { column, period })),
    ("rsi", |table| series(table, 2).map(|(column, period)| Indicator::Rsi { column, period })),
    ("atr", |table| bars(table, 1).map(|(prices, period)| Indicator::Atr { prices, period })),
    ("atr_pct", |table| bars(table, 1).map(|(prices, period)| Indicator::AtrPct { prices, period })),
    ("adx", |table| bars(table, 2).map(|(prices, period)| Indicator::Adx { prices, period })),
    ("macd", macd),
    ("bollinger", |table| {
        let (series, output) = (series(table, 2), table.required("output"));
        let width = above_zero(table, "width").unwrap_or(2.0);
        let (column, period) = series?;
        Some(Indicator::Bollinger { column, period, width, output: output? })
    }),
    ("vwap", |table| {
        let volume = table.or("volume", "volume".to_owned());
        bars(table, 1).map(|(prices, period)| Indicator::Vwap { prices, volume, period })
    }),
    ("realised_volatility", |table| {
        let annualise = above_zero(table, "annualise");
        series(table, 1).map(|(column, period)| Indicator::RealisedVolatility { column, period, annualise })
    }),
    ("rolling_min", |table| series(table, 2).map(|(column, period)| Indicator::RollingMin { column, period })),
    ("rolling_max", |table| series(table, 2).map(|(column, period)| Indicator::RollingMax { column, period })),
    ("rank", |table| series(table, 2).map(|(column, period)| Indicator::Rank { column, period })),
    ("lag", |table| {
        let (column, bars) = (table.column("column"), count(table, "bars", 1));
        Some(Indicator::Lag { column: column?, bars: bars? })
    }),
    ("spread", |table| {
        let (column, minus) = (table.column("column"), table.column("minus"));
        Some(Indicator::Spread { column: column?, minus: minus? })
    }),
    ("time_of_day", |table| {
        let (encode, zone) = circle(table);
        Some(Indicator::TimeOfDay { encode, zone })
    }),
    ("day_of_week", |table| {
        let (encode, zone) = circle(table);
        Some(Indicator::DayOfWeek { encode, zone })
    }),
];

/// The indicator whose kind and parameters `table` holds; every mistake in it is kept.
pub(super) fn indicator(table: &mut Table<'_>) -> Option<Indicator> {
    let word: Option<String> = table.optional("kind");
    let read = word.as_ref().and_then(|word| KINDS.iter().find(|(kind, _)| kind == word));
    let Some((_, read)) = read else {
        table.ignore_rest();
        if let Some(word) = word {
            let near = suggest(&word, KINDS.iter().map(|(kind, _)| *kind), "kinds");
            table.mistake("kind", &format!("kind: {} is unknown: {near}", quoted(&word)));
        }
        return None;
    };
    read(table)
}

fn series(table: &Table<'_>, least: usize) -> Option<(String, Period)> {
    let (column, period) = (table.column("column"), count(table, "period", least));
    column.zip(period)
}

fn bars(table: &Table<'_>, least: usize) -> Option<(Prices, Period)> {
    let column = |key: &'static str| table.or(key, key.to_owned());
    let prices = Prices { high: column("high"), low: column("low"), close: column("close") };
    Some(prices).zip(count(table, "period", least))
}

fn macd(table: &Table<'_>) -> Option<Indicator> {
    let (column, output) = (table.column("column"), table.required("output"));
    let (fast, slow, signal) = (count(table, "fast", 2), count(table, "slow", 2), count(table, "signal", 1));
    let (fast, slow) = fast.zip(slow)?;
    if fast >= slow {
        let (fast, slow) = (fast.rows(), slow.rows());
        table.mistake("fast", &format!("fast: {fast} is not allowed: use less than slow, which is {slow}"));
        return None;
    }
    Some(Indicator::Macd { column: column?, fast, slow, signal: signal?, output: output? })
}

fn over(table: &Table<'_>) -> Option<Over> {
    if table.has("over") == table.has("bars") {
        table.mistake("bars", "give either over = \"5m\" (by time) or bars = 1 (by rows)");
    }
    let time = table.optional::<Positive>("over").map(|Positive(time)| Over::Time(time));
    let bars = table.has("bars").then(|| count(table, "bars", 1)).flatten().map(Over::Bars);
    time.or(bars)
}

fn circle(table: &Table<'_>) -> (Encode, Zone) {
    (table.or("encode", Encode::Fraction), table.or("zone", Zone::utc()))
}

fn count(table: &Table<'_>, key: &'static str, least: usize) -> Option<Period> {
    let allowed = format!("use a whole number from {least} to {}", Period::MOST);
    if !table.has(key) {
        table.mistake(key, &format!("{key} is missing: {allowed}"));
    }
    let Whole(rows) = table.optional(key)?;
    let period = Period::new(rows).ok().filter(|period| period.rows() >= least);
    if period.is_none() {
        table.mistake(key, &format!("{key}: {rows} is not allowed: {allowed}"));
    }
    period
}

fn above_zero(table: &Table<'_>, key: &'static str) -> Option<f64> {
    table.with(key, |value| match f64::read(value)? {
        number if number > 0.0 => Ok(number),
        number => Err(format!("{number} is not allowed: use a number above 0")),
    })
}

#[cfg(test)]
mod tests {
    use crate::definition::ValueType;
    use crate::definition::tests::read;
    use crate::model::ViewName;

    #[test]
    fn every_kind_of_indicator_is_read_as_what_it_is_called() {
        let parameters = |kind: &str| match kind {
            "log_return" | "change" => "column = \"close\", over = \"5m\"",
            "atr" | "atr_pct" | "adx" | "vwap" => "period = 14",
            "macd" => "column = \"close\", fast = 12, slow = 26, signal = 9, output = \"signal\"",
            "bollinger" => "column = \"close\", period = 20, output = \"percent_b\"",
            "lag" => "column = \"close\", bars = 1",
            "spread" => "column = \"ask\", minus = \"bid\"",
            "time_of_day" | "day_of_week" => "encode = \"sin\", zone = \"America/Bogota\"",
            _ => "column = \"close\", period = 20",
        };
        for kind in super::KINDS.map(|(kind, _)| kind) {
            let text = format!(
                "[view.v]\nentity = \"symbol\"\nsource = \"bars\"\nfeatures.x = {{ kind = \"{kind}\", {} }}",
                parameters(kind)
            );
            let definitions = read(&text).unwrap();
            let feature = &definitions.views()[&ViewName::new("v").unwrap()].features[0];
            assert_eq!(feature.value_type, ValueType::Double);
            let written = serde_json::to_value(&feature.expression).unwrap();
            assert_eq!(written["indicator"]["kind"], kind);
        }
    }

    #[test]
    fn the_documentation_has_every_kind() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/definitions.md");
        let page = std::fs::read_to_string(page).unwrap();
        for (kind, _) in super::KINDS {
            assert!(page.contains(&format!("`{kind}`")), "{kind} is missing from docs/definitions.md");
        }
    }
}
