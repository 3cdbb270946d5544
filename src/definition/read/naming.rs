//! Rules for the names of features, which are advice and no law.

use super::super::indicator::{Indicator, Over, Period};
use super::super::place::Finding;
use super::super::view::{Expression, FeatureDefinition, ViewDefinition};

/// Ends of names that say what a value is, with no need of a period.
const UNITS: [&str; 2] = ["pct", "z"];

/// What is not as it should be with the names of a view's features.
pub(super) fn warnings(view: &ViewDefinition) -> Vec<Finding> {
    let warn = |feature: &FeatureDefinition, advice: String| Finding {
        place: feature.place.clone(),
        message: format!("view \"{}\": feature \"{}\": {advice}", view.name, feature.name),
    };
    let advised = view.features.iter().filter_map(|feature| match &feature.expression {
        Expression::Indicator(indicator) => Some((feature, advice(feature.name.as_str(), indicator))),
        _ => None,
    });
    advised.flat_map(|(feature, advice)| advice.into_iter().map(move |what| warn(feature, what))).collect()
}

fn advice(name: &str, indicator: &Indicator) -> Vec<String> {
    let words: Vec<_> = name.split('_').collect();
    let mut advice = Vec::new();
    let is_score = matches!(indicator, Indicator::Zscore { .. });
    if is_score != words.contains(&"z") {
        advice.push(match is_score {
            true => "a zscore has _z in its name".to_owned(),
            false => "_z in a name is for a zscore".to_owned(),
        });
    }
    if let Some(over) = duration(indicator)
        && !words.iter().any(|word| humantime::parse_duration(word) == Ok(over))
    {
        let over = humantime::format_duration(over).to_string().replace(' ', "");
        advice.push(format!("a return over {over} says so in its name: end it with _{over}"));
    }
    if let Some(period) = period(indicator) {
        let rows = period.rows();
        let numbers: Vec<_> = words.iter().filter_map(|word| word.parse::<usize>().ok()).collect();
        let is_unit = words.last().is_some_and(|word| UNITS.contains(word));
        let says_enough = numbers.contains(&rows) || (numbers.is_empty() && is_unit);
        if !says_enough {
            advice.push(format!("its period is {rows}: say so in its name, as in {}_{rows}", stem(&words)));
        }
    }
    advice
}

/// The name without its numbers.
fn stem(words: &[&str]) -> String {
    let kept: Vec<_> = words.iter().copied().filter(|word| word.parse::<usize>().is_err()).collect();
    kept.join("_")
}

fn duration(indicator: &Indicator) -> Option<std::time::Duration> {
    match indicator {
        Indicator::LogReturn { over: Over::Time(over), .. } | Indicator::Change { over: Over::Time(over), .. } => {
            Some(*over)
        }
        _ => None,
    }
}

/// The period of an indicator that has one and only one.
fn period(indicator: &Indicator) -> Option<Period> {
    match indicator {
        Indicator::Sma { period, .. }
        | Indicator::Ema { period, .. }
        | Indicator::RollingStd { period, .. }
        | Indicator::Zscore { period, .. }
        | Indicator::Rsi { period, .. }
        | Indicator::Atr { period, .. }
        | Indicator::AtrPct { period, .. }
        | Indicator::Adx { period, .. }
        | Indicator::Bollinger { period, .. }
        | Indicator::Vwap { period, .. }
        | Indicator::RealisedVolatility { period, .. }
        | Indicator::RollingMin { period, .. }
        | Indicator::RollingMax { period, .. }
        | Indicator::Rank { period, .. } => Some(*period),
        _ => None,
    }
}
