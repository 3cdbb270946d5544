use proptest::prelude::*;

use super::*;

/// A version with a value; a row whose version that counts is left out is none.
#[derive(Debug, Clone, Copy)]
struct Source {
    version: Version,
    is_left_out: bool,
}

/// A view of blocks, each computed from a history of its own, whose rows come `delay` after the source's.
#[derive(Debug, Clone, Copy)]
struct View {
    span: i64,
    lookback: i64,
    delay: i64,
}

impl View {
    fn reach(&self, at: i64) -> i64 {
        at.div_euclid(self.span) * self.span - self.lookback
    }

    /// The rows from what was known at a time: each with all that it was made of. None is made of what its block does
    /// not reach.
    fn rows(&self, sources: &[Source], known_by: i64) -> Vec<(i64, Vec<(i64, usize)>)> {
        // Of each event time the version that became known last; of several the last.
        let mut counts: Vec<(i64, usize)> = Vec::new();
        let mut order: Vec<usize> = (0..sources.len()).filter(|at| sources[*at].version.known <= known_by).collect();
        order.sort_by_key(|at| (sources[*at].version.event, sources[*at].version.known, *at));
        for at in order {
            let event = sources[at].version.event;
            counts.retain(|(known, _)| *known != event);
            counts.push((event, at));
        }
        counts.retain(|(_, at)| !sources[*at].is_left_out);
        let row = |(event, _): &(i64, usize)| {
            let at = event + self.delay;
            let made_of = counts.iter().filter(|(event, _)| (self.reach(at)..=at).contains(event));
            (self.reach(at) <= *event).then(|| (at, made_of.copied().collect()))
        };
        counts.iter().filter_map(row).collect()
    }
}

fn sources() -> impl Strategy<Value = Vec<Source>> {
    let source = (0i64..24, -2i64..14, prop::bool::weighted(0.15)).prop_map(|(event, delay, is_left_out)| Source {
        version: Version { event, known: event + delay },
        is_left_out,
    });
    prop::collection::vec(source, 0..30)
}

fn view() -> impl Strategy<Value = View> {
    (1i64..9, 0i64..9, 0i64..3).prop_map(|(span, lookback, delay)| View { span, lookback, delay })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Against computing every time from what was known then, and nothing else.
    #[test]
    fn a_row_is_that_of_what_was_known(
        sources in sources(), view in view(), from in 0i64..20,
        at in prop::collection::btree_set(0i64..40, 1..20),
    ) {
        let newest = |rows: &[(i64, Vec<(i64, usize)>)], until: i64| {
            rows.iter().rfind(|(at, _)| from <= *at && *at <= until).cloned()
        };
        let at: Vec<i64> = at.into_iter().collect();
        let history = History::new(sources.iter().map(|source| source.version).collect());
        let dependence = Dependence { reach: &|at| view.reach(at), is_retimed: view.delay > 0 };
        let cached = view.rows(&sources, i64::MAX);
        let times: Vec<i64> = cached.iter().map(|(at, _)| *at).filter(|at| *at >= from).collect();
        let verdicts = history.judge(&dependence, &times, from, &at);
        let mut asked = Vec::new();
        for (index, (at, verdict)) in at.iter().zip(&verdicts).enumerate() {
            let truth = newest(&view.rows(&sources, *at), *at);
            match *verdict {
                Verdict::Cached { until } => prop_assert_eq!(newest(&cached, until), truth, "cached, at {}", at),
                Verdict::Computed { until } => {
                    asked.push(Asked { index, at: *at, until });
                    let is_hidden = |source: &Source| source.version.known > *at && source.version.event <= until;
                    prop_assert!(sources.iter().any(is_hidden), "nothing was hidden at {}", at);
                }
            }
        }
        for group in history.together(&asked) {
            let group = &asked[group];
            let rows = view.rows(&sources, group.last().unwrap().at);
            for one in group {
                let truth = newest(&view.rows(&sources, one.at), one.at);
                prop_assert_eq!(newest(&rows, one.until), truth, "computed, at {}", one.at);
            }
        }
    }
}

fn history(versions: &[(i64, i64)]) -> History {
    History::new(versions.iter().map(|(event, known)| Version { event: *event, known: *known }).collect())
}

#[test]
fn rows_that_come_in_order_are_taken_from_the_cache() {
    // Known two after their events: at each event time the row before counts, of which nothing is hidden.
    let versions: Vec<(i64, i64)> = (0..100).map(|row| (row * 10, row * 10 + 2)).collect();
    let rows: Vec<i64> = versions.iter().map(|(event, _)| *event).collect();
    let dependence = Dependence { reach: &|at| at - 50, is_retimed: false };
    let verdicts = history(&versions).judge(&dependence, &rows, 0, &rows);
    let expected = |row: i64| Verdict::Cached { until: if row == 0 { i64::MIN } else { (row - 1) * 10 } };
    assert_eq!(verdicts, (0..100).map(expected).collect::<Vec<_>>());
}

#[test]
fn times_are_computed_together_until_a_correction_becomes_known() {
    // Row 10 is corrected at 61: every time from its event on sees another row, and those before 61 the same history.
    let mut versions: Vec<(i64, i64)> = (0..10).map(|row| (row * 10, row * 10)).collect();
    versions.push((10, 61));
    let rows: Vec<i64> = (0..10).map(|row| row * 10).collect();
    let dependence = Dependence { reach: &|_| 0, is_retimed: false };
    let history = history(&versions);
    let verdicts = history.judge(&dependence, &rows, 0, &rows);
    let is_computed: Vec<i64> =
        (0..10).filter(|at| matches!(verdicts[*at as usize], Verdict::Computed { .. })).collect();
    assert_eq!(is_computed, [1, 2, 3, 4, 5, 6]);
    let asked: Vec<Asked> = (1..=9).map(|at| Asked { index: at, at: at as i64 * 10, until: at as i64 * 10 }).collect();
    assert_eq!(history.together(&asked), [0..6, 6..9]);
}
