use super::{DAY, HOUR, MINUTE};
use crate::technical::synthetic::SplitMix64;
use crate::technical::{Bars, synthetic_bars};

/// A Monday.
const END: i64 = 20_003 * DAY;

fn euro(days: u32, seed: u64) -> Bars {
    synthetic_bars(&["EURUSD"], days, END, seed).remove("EURUSD").unwrap()
}

#[test]
fn the_generator_is_splitmix64() {
    // First outputs of the public-domain C implementation by Sebastiano Vigna.
    let mut noise = SplitMix64(1_234_567);
    let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
    assert_eq!([noise.next(), noise.next(), noise.next()], expected);
}

#[test]
fn the_same_arguments_give_the_same_bars() {
    assert_eq!(euro(9, 1), euro(9, 1));
    assert_ne!(euro(9, 1), euro(9, 2));
}

#[test]
fn a_symbols_bars_do_not_depend_on_the_other_symbols() {
    let many = synthetic_bars(&["GBPUSD", "EURUSD", "BRK/B"], 2, END, 1);
    assert_eq!(many.len(), 3);
    assert_eq!(many["EURUSD"], euro(2, 1));
    assert_ne!(many["EURUSD"], many["GBPUSD"]);
}

#[test]
fn every_bar_is_a_bar_and_the_price_moves() {
    let bars = euro(60, 1);
    let all = bars.as_slice();
    for row in 0..bars.len() {
        let (open, close) = (all.open()[row], all.close()[row]);
        assert!(all.high()[row] >= open.max(close) && all.low()[row] <= open.min(close));
        assert!(all.low()[row] > 0.0);
        assert!(bars.volume()[row] > 0.0);
        for price in [open, all.high()[row], all.low()[row], close] {
            assert_eq!(price, format!("{price:.5}").parse::<f64>().unwrap());
        }
    }
    let moved = all.close().windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(moved * 10 > bars.len() * 9, "{moved} of {}", bars.len());
}

#[test]
fn the_market_closes_from_friday_22_to_sunday_22() {
    let bars = euro(7, 1);
    assert_eq!(bars.len(), 5 * 1_440);
    let labels = bars.as_slice().ts();
    let gap: Vec<_> = labels.windows(2).filter(|pair| pair[1] - pair[0] != MINUTE).collect();
    let (friday, sunday) = (END - 3 * DAY + 22 * HOUR, END - DAY + 22 * HOUR);
    assert_eq!(gap, [&[friday - MINUTE, sunday]]);
}

#[test]
fn a_bar_opens_where_the_last_one_closed_but_for_weekends() {
    let bars = euro(7, 1);
    let all = bars.as_slice();
    let jumps = (1..bars.len()).filter(|row| all.open()[*row] != all.close()[row - 1]);
    let jumps: Vec<i64> = jumps.map(|row| all.ts()[row]).collect();
    assert_eq!(jumps, [END - DAY + 22 * HOUR]);
}

#[test]
fn the_last_bar_opens_in_the_minute_before_the_end() {
    let end = END + 9 * HOUR;
    for within in [0, 1, MINUTE - 1] {
        let bars = synthetic_bars(&["EURUSD"], 1, end + within, 1).remove("EURUSD").unwrap();
        assert_eq!(bars.as_slice().ts().last(), Some(&(end - MINUTE)));
    }
}
