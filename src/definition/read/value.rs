//! Values of TOML as types that cannot be wrong.

use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use super::super::connection::PostgresUrl;
use super::super::indicator::{BollingerOutput, Encode, MacdOutput};
use super::super::service::{FeatureReference, ServiceFeature};
use super::super::source::{OnDuplicate, OnNullTime, OnViolation};
use super::super::value_type::ValueType;
use super::super::view::{Parameter, ViewSource};
use super::super::zone::Zone;
use super::nearest::{listed, nearest};
use crate::model::{EntityName, FeatureName, KeyName, KeyType, SourceName, Span, ViewName};

/// What one value of a table is read as.
pub(super) trait Value: Sized {
    /// What it must be, in words that follow "use".
    fn expected() -> String;

    /// The value, or what is wrong with it.
    fn read(value: &DeValue<'_>) -> Result<Self, String>;
}

/// One of several words.
pub(super) trait Choice: Copy + Sized + 'static {
    const CHOICES: &'static [(&'static str, Self)];
}

/// Text that may be empty.
pub(super) struct AnyText(pub String);

/// A duration that is not zero.
pub(super) struct Positive(pub Duration);

/// A whole number.
pub(super) struct Whole(pub i64);

/// One character of ASCII.
pub(super) struct Character(pub char);

/// What is wrong with a value that is no `T`.
pub(super) fn refuse<T: Value>(value: &DeValue<'_>) -> String {
    format!("{} is not allowed: use {}", shown(value), T::expected())
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// Text in quotation marks, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    let cut: String = text.chars().take(LONGEST).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("{:?}", cut + dots)
}

fn text<'v>(value: &'v DeValue<'_>) -> Option<&'v str> {
    value.as_str().filter(|text| !text.trim().is_empty())
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    let number = match value {
        DeValue::Integer(number) => {
            let Whole(whole) = Whole::of(number)?;
            // Beyond that, neighbours are the same float.
            (whole.unsigned_abs() <= 1 << 53).then_some(whole as f64)?
        }
        DeValue::Float(number) => number.as_str().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

impl Value for String {
    fn expected() -> String {
        "text".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        text(value).map(str::to_owned).ok_or_else(|| refuse::<Self>(value))
    }
}

impl Value for AnyText {
    fn expected() -> String {
        String::expected()
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_str().map(|text| Self(text.to_owned())).ok_or_else(|| refuse::<Self>(value))
    }
}

impl Value for Character {
    fn expected() -> String {
        "one character, such as \",\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let mut characters = value.as_str().unwrap_or_default().chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) if one.is_ascii() && !matches!(one, '\n' | '\r' | '"') => Ok(Self(one)),
            _ => Err(refuse::<Self>(value)),
        }
    }
}

impl Value for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| refuse::<Self>(value))
    }
}

impl Value for f64 {
    fn expected() -> String {
        "a finite number".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        number(value).ok_or_else(|| refuse::<Self>(value))
    }
}

impl Value for Whole {
    fn expected() -> String {
        "a whole number".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        value.as_integer().and_then(Self::of).ok_or_else(|| refuse::<Self>(value))
    }
}

impl Whole {
    fn of(number: &DeInteger<'_>) -> Option<Self> {
        i64::from_str_radix(number.as_str(), number.radix()).ok().map(Self)
    }
}

impl Value for Duration {
    fn expected() -> String {
        "a duration such as \"5m\" or \"10d\"".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let parsed = text(value).and_then(|text| humantime::parse_duration(text).ok());
        let duration = parsed.ok_or_else(|| refuse::<Self>(value))?;
        // Timestamps are nanoseconds in 64 bits, so no longer one can be added to them.
        match i64::try_from(duration.as_nanos()) {
            Ok(_) => Ok(duration),
            Err(_) => Err(format!("{} is not allowed: use less than 292 years", shown(value))),
        }
    }
}

impl Value for Positive {
    fn expected() -> String {
        format!("{}, more than 0", Duration::expected())
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        Duration::read(value).ok().filter(|it| !it.is_zero()).map(Self).ok_or_else(|| refuse::<Self>(value))
    }
}

impl Value for Parameter {
    fn expected() -> String {
        "text, a finite number (whole ones within ±2^53), true or false".to_owned()
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::Boolean(value) => Ok(Self::Boolean(*value)),
            DeValue::String(text) => Ok(Self::Text(text.to_string())),
            other => number(other).map(Self::Number).ok_or_else(|| refuse::<Self>(value)),
        }
    }
}

/// Types that know how to read a name or text of their own.
macro_rules! parsed {
    ($($type:ty: $expected:literal, $parse:expr;)*) => {$(
        impl Value for $type {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn read(value: &DeValue<'_>) -> Result<Self, String> {
                let text = text(value).ok_or_else(|| refuse::<Self>(value))?;
                let parse: fn(&str) -> crate::error::Result<Self> = $parse;
                parse(text).map_err(|error| error.to_string())
            }
        }
    )*};
}

parsed! {
    EntityName: "the name of an entity", EntityName::new;
    FeatureName: "the name of a feature", FeatureName::new;
    Zone: "an IANA name such as \"America/Bogota\"", Zone::new;
    PostgresUrl: "a URL such as \"postgres://reader:${PGPASSWORD}@db/market\"", PostgresUrl::new;
    ViewSource: "the name of a source, or \"view:\" and the name of a view", |text| match text.strip_prefix("view:") {
        Some(view) => ViewName::new(view).map(Self::View),
        None => SourceName::new(text).map(Self::Source),
    };
    FeatureReference: "a feature of a view, such as \"technical_features.rsi_9\"", |text| match text.split_once('.') {
        Some((view, feature)) => Ok(Self { view: ViewName::new(view)?, feature: FeatureName::new(feature)? }),
        None => Err(crate::error::Error::invalid(format!("{} names no view: use {}", quoted(text), Self::expected()))),
    };
    ServiceFeature: "a feature of a view, such as \"technical_features.rsi_9\", or an on-demand feature",
        |text| match text.contains('.') {
            true => FeatureReference::read(&DeValue::String(text.into()))
                .map(Self::View)
                .map_err(crate::error::Error::invalid),
            false => FeatureName::new(text).map(Self::OnDemand),
        };
}

impl<T: Choice> Value for T {
    fn expected() -> String {
        let words: Vec<_> = T::CHOICES.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        listed(&words, "or")
    }

    fn read(value: &DeValue<'_>) -> Result<Self, String> {
        let text = value.as_str().ok_or_else(|| refuse::<Self>(value))?;
        let found = T::CHOICES.iter().find(|(word, _)| *word == text);
        found.map(|(_, choice)| *choice).ok_or_else(|| match nearest(text, T::CHOICES.iter().map(|(word, _)| *word)) {
            Some(near) => format!("{}; did you mean \"{near}\"?", refuse::<Self>(value)),
            None => refuse::<Self>(value),
        })
    }
}

macro_rules! choice {
    ($($type:ty: $($word:literal = $choice:ident),+;)*) => {$(
        impl Choice for $type {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($word, Self::$choice)),+];
        }
    )*};
}

choice! {
    KeyType: "text" = Text, "integer" = Integer;
    Span: "hour" = Hour, "day" = Day, "week" = Week, "month" = Month, "year" = Year;
    ValueType: "boolean" = Boolean, "integer" = Integer, "float" = Float, "double" = Double, "text" = Text,
        "date" = Date, "timestamp" = Timestamp;
    OnDuplicate: "last" = Last, "first" = First, "error" = Error;
    OnNullTime: "error" = Error, "drop" = Drop;
    OnViolation: "null" = Null, "drop" = Drop, "error" = Error;
    MacdOutput: "macd" = Macd, "signal" = Signal, "histogram" = Histogram;
    BollingerOutput: "upper" = Upper, "middle" = Middle, "lower" = Lower, "percent_b" = PercentB, "width" = Width;
    Encode: "sin" = Sin, "cos" = Cos, "fraction" = Fraction;
}

/// What the keys of a table with free keys are read as.
pub(super) trait Key: Ord + Sized {
    fn of(key: &str) -> Result<Self, String>;
}

impl Key for String {
    fn of(key: &str) -> Result<Self, String> {
        if key.trim().is_empty() { Err("a name is empty".to_owned()) } else { Ok(key.to_owned()) }
    }
}

impl Key for KeyName {
    fn of(key: &str) -> Result<Self, String> {
        Self::new(key).map_err(|error| error.to_string())
    }
}

impl Key for FeatureName {
    fn of(key: &str) -> Result<Self, String> {
        Self::new(key).map_err(|error| error.to_string())
    }
}
