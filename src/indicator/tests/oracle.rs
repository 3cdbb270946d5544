//! Against DuckDB's window functions.

use duckdb::Connection;

use super::{closes, noise, period, values};
use crate::definition::{BollingerOutput, Indicator, Over};

/// A walk that stands still at times, in steps of a tenth.
fn walk(count: usize) -> Vec<f64> {
    let mut price = 5_000;
    let steps = noise(17).take(count).map(|noise| (noise * 4.0) as i32);
    steps
        .map(|step| {
            price += step;
            f64::from(price) / 10.0
        })
        .collect()
}

/// What DuckDB says of `expression` for every row, null for the first `warming`.
fn duckdb(prices: &[f64], expression: &str, warming: usize) -> Vec<Option<f64>> {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE t (i BIGINT, v DOUBLE)").unwrap();
    let mut appender = connection.appender("t").unwrap();
    (0i64..).zip(prices).for_each(|(row, price)| appender.append_row(duckdb::params![row, price]).unwrap());
    appender.flush().unwrap();
    let query = format!("SELECT CASE WHEN i >= {warming} THEN {expression} END FROM t AS a ORDER BY i");
    let mut statement = connection.prepare(&query).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, Option<f64>>(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn assert_duckdb(indicator: Indicator, expression: &str, warming: usize) {
    let prices = walk(1_500);
    let theirs = duckdb(&prices, expression, warming);
    let ours = values(&indicator, &closes(&prices));
    assert_eq!(ours.len(), theirs.len());
    for (row, (ours, theirs)) in ours.into_iter().zip(theirs).enumerate() {
        let near = match (ours, theirs) {
            (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0),
            (ours, theirs) => ours == theirs,
        };
        assert!(near, "{indicator:?} row {row}: {ours:?} is not {theirs:?}");
    }
}

#[test]
fn windows_are_duckdbs() {
    let column = || "close".to_owned();
    for rows in [2, 20, 128, 129, 500] {
        let period = period(rows);
        let frame = format!("OVER (ORDER BY i ROWS BETWEEN {} PRECEDING AND CURRENT ROW)", rows - 1);
        let (mean, deviation) = (format!("avg(v) {frame}"), format!("stddev_pop(v) {frame}"));
        let warming = rows - 1;
        assert_duckdb(Indicator::Sma { column: column(), period }, &mean, warming);
        assert_duckdb(Indicator::RollingStd { column: column(), period }, &deviation, warming);
        let score = format!("(v - {mean}) / nullif({deviation}, 0)");
        assert_duckdb(Indicator::Zscore { column: column(), period }, &score, warming);
        assert_duckdb(Indicator::RollingMin { column: column(), period }, &format!("min(v) {frame}"), warming);
        assert_duckdb(Indicator::RollingMax { column: column(), period }, &format!("max(v) {frame}"), warming);
        let upper = Indicator::Bollinger { column: column(), period, width: 2.0, output: BollingerOutput::Upper };
        assert_duckdb(upper, &format!("{mean} + 2 * {deviation}"), warming);
        let lagged = format!("lag(v, {rows}) OVER (ORDER BY i)");
        assert_duckdb(Indicator::Lag { column: column(), bars: period }, &lagged, rows);
        let returns = Indicator::LogReturn { column: column(), over: Over::Bars(period) };
        assert_duckdb(returns, &format!("ln(v / {lagged})"), rows);
    }
}

#[test]
fn a_rank_counts_as_duckdb_counts() {
    for rows in [2, 20, 500] {
        let others = rows - 1;
        let points = "sum(CASE WHEN b.v < a.v THEN 1 WHEN b.v = a.v THEN 0.5 ELSE 0 END)";
        let rank = format!("(SELECT {points} / {others} FROM t AS b WHERE b.i BETWEEN a.i - {others} AND a.i - 1)");
        assert_duckdb(Indicator::Rank { column: "close".into(), period: period(rows) }, &rank, others);
    }
}
