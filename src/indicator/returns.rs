//! Comparisons with an earlier row.

use crate::definition::Over;

/// `ln(now / then)`; none where a value is not positive.
pub(super) fn logarithmic(now: f64, then: f64) -> f64 {
    if now > 0.0 && then > 0.0 { (now / then).ln() } else { f64::NAN }
}

/// `now / then - 1`, written as TA-Lib's `ROCP`, which loses no digits where the two are near.
pub(super) fn relative(now: f64, then: f64) -> f64 {
    (now - then) / then
}

/// `now - then`, TA-Lib's `MOM`.
pub(super) fn difference(now: f64, then: f64) -> f64 {
    now - then
}

/// Each value compared with the one that `over` says, NaN where there is none.
///
/// Over a time, that is the value of the newest row at least so much older: nobody traded in between, so it was the
/// price then. It must be less than twice as much older; an older one would make a return over a night or a weekend
/// look like one over five minutes.
pub(super) fn compare(times: &[i64], values: &[f64], over: Over, function: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let span = match over {
        Over::Bars(bars) => {
            let warming = std::iter::repeat_n(f64::NAN, bars.rows().min(values.len()));
            let pairs = values.iter().skip(bars.rows()).zip(values);
            return warming.chain(pairs.map(|(now, then)| function(*now, *then))).collect();
        }
        Over::Time(span) => i64::try_from(span.as_nanos()).unwrap_or(i64::MAX),
    };
    let mut older = times.iter().zip(values).peekable();
    let mut newest = None;
    let rows = times.iter().zip(values);
    rows.map(|(time, now)| {
        let due = time.checked_sub(span)?;
        while let Some(row) = older.next_if(|(time, _)| **time <= due) {
            newest = Some(row);
        }
        let (time, then) = newest?;
        (due.checked_sub(*time)? < span).then(|| function(*now, *then))
    })
    .map(|value| value.unwrap_or(f64::NAN))
    .collect()
}
