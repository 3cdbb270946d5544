//! What is asked, as SQL with its values apart.
//!
//! Names come from the definition alone and are quoted; whatever else varies is a value that is bound.

use super::value::Value;
use crate::model::KeyValue;
use crate::source::found::{Found, Kind};
use crate::source::moment::Clockface;
use crate::sql::quoted;

/// A statement and the values of its `$1`, `$2` and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Select {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// Which rows are asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Where {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Where {
    /// Those of which this SQL is true.
    pub(super) fn and(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    fn bind(&mut self, column: &str, comparison: &str, value: Value) {
        self.values.push(value);
        let place = format!("${}", self.values.len());
        let operand = if comparison == "= ANY" { format!("({place})") } else { format!(" {place}") };
        self.conditions.push(format!("{} {comparison}{operand}", quoted(column)));
    }

    /// Those of one key. `None` for a column that holds no keys.
    pub(super) fn key(&mut self, column: &str, found: &Found, value: &KeyValue) -> Option<()> {
        let text = value.to_string();
        match found.kind {
            // A number has one spelling: text that only reads like it is another key.
            Kind::Integer => match text.parse::<i64>() {
                Ok(number) if number.to_string() == text => self.bind(column, "=", Value::Integer(number)),
                _ => self.and("false".to_owned()),
            },
            // No text of the database holds a zero byte.
            Kind::Text if text.contains('\0') => self.and("false".to_owned()),
            Kind::Text => self.bind(column, "=", Value::Text(text)),
            _ => return None,
        }
        Some(())
    }

    /// Those of these series.
    pub(super) fn any(&mut self, column: &str, names: Vec<String>) {
        self.bind(column, "= ANY", Value::Texts(names));
    }

    /// Those with a time from one instant up to another. `None` where only reading the times tells.
    pub(super) fn during(
        &mut self,
        clock: &Clockface,
        column: &str,
        found: &Found,
        (from, to): (i64, i64),
    ) -> Option<()> {
        for (comparison, bound) in clock.bounds(found, from, to)? {
            let value = match found.kind {
                Kind::Integer => Value::Integer(bound),
                Kind::Date => Value::Date(i32::try_from(bound).ok()?),
                Kind::Naive(unit) => Value::Naive(bound.div_euclid(unit)),
                Kind::Instant(unit) => Value::Instant(bound.div_euclid(unit)),
                _ => return None,
            };
            self.bind(column, comparison, value);
        }
        Some(())
    }

    /// `selected` of the rows of `relation`.
    pub(super) fn select(self, selected: &str, relation: &str, rest: &str) -> Select {
        let conditions = if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" AND ") };
        Select { sql: format!("SELECT {selected} FROM {relation} WHERE {conditions}{rest}"), values: self.values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Zone;

    fn found(kind: Kind) -> Found {
        Found { kind, sql: String::new() }
    }

    #[test]
    fn values_are_bound_and_names_are_quoted() {
        let mut rows = Where::default();
        let key = "x' OR '1'='1'; DROP TABLE bars --";
        rows.key("sym\"bol; --", &found(Kind::Text), &KeyValue::from(key)).unwrap();
        let clock = Clockface::new(&Zone::new("America/Bogota").unwrap(), None);
        rows.during(&clock, "at", &found(Kind::Naive(1_000)), (0, 3_600_000_000_001)).unwrap();
        rows.any("series", vec!["a".to_owned()]);
        let select = rows.select("\"x\"", "\"t\"", " ORDER BY \"at\"");
        assert_eq!(
            select.sql,
            "SELECT \"x\" FROM \"t\" WHERE \"sym\"\"bol; --\" = $1 AND \"at\" >= $2 AND \"at\" < $3 AND \"series\" = \
             ANY($4) ORDER BY \"at\""
        );
        let five_hours = 5 * 3_600_000_000;
        let expected = [
            Value::Text(key.to_owned()),
            Value::Naive(-five_hours),
            Value::Naive(3_600_000_001 - five_hours),
            Value::Texts(vec!["a".to_owned()]),
        ];
        assert_eq!(select.values, expected);
    }

    #[test]
    fn a_key_that_no_row_can_have_asks_for_none() {
        for (kind, key) in [(Kind::Integer, "007"), (Kind::Integer, "seven"), (Kind::Text, "a\0b")] {
            let mut rows = Where::default();
            rows.key("k", &found(kind), &KeyValue::from(key)).unwrap();
            assert_eq!(rows.select("1", "t", "").sql, "SELECT 1 FROM t WHERE false");
        }
        assert!(Where::default().key("k", &found(Kind::Double), &KeyValue::from("1")).is_none());
    }
}
