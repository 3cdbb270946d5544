"""The view of benches/warm.rs in pandas: reads the bars, computes the features of a year, writes a Parquet file a month.

Vectorised throughout, without a loop over rows. Prints the seconds of the best of N rounds: all, and computing alone.
"""
import pathlib
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa

pa.set_cpu_count(1)
pa.set_io_thread_count(1)


def wilder(values, period):
    return values.ewm(alpha=1 / period, adjust=False, min_periods=period).mean()


def features(bars):
    bars = bars.set_index(bars["ts"] + pd.Timedelta("5min"))
    high, low, close = bars["high"], bars["low"], bars["close"]
    log = np.log(close)
    # The bars have no gaps, so that a time is a number of rows.
    out = {name: log - log.shift(rows) for name, rows in [("log_ret_5m", 1), ("log_ret_1h", 12), ("log_ret_4h", 48)]}
    change = close.diff()
    up, down = wilder(change.clip(lower=0), 9), wilder(-change.clip(upper=0), 9)
    out["rsi_9"] = 100 * up / (up + down)
    before = close.shift(1)
    reach = pd.Series(np.maximum(high - low, np.maximum((high - before).abs(), (low - before).abs())), index=bars.index)
    average = wilder(reach, 14)
    out["atr_pct"] = average / close
    rise, fall = high.diff(), -low.diff()
    plus = 100 * wilder(rise.where((rise > fall) & (rise > 0), 0.0), 14) / average
    minus = 100 * wilder(fall.where((fall > rise) & (fall > 0), 0.0), 14) / average
    out["adx_14"] = wilder(100 * (plus - minus).abs() / (plus + minus), 14)
    return pd.DataFrame(out)


def run(directory, year):
    computing = 0
    for path in sorted(directory.glob("symbol=*/bars.parquet")):
        bars = pd.read_parquet(path, columns=["ts", "high", "low", "close"])
        began = time.perf_counter()
        year_of = features(bars).loc[year:]
        computing += time.perf_counter() - began
        for month, block in year_of.groupby(year_of.index.month, sort=False):
            block.to_parquet(path.parent / f"features-{month}.out", compression="zstd", compression_level=3)
    return computing


def main():
    directory, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    year = pd.Timestamp(int(sys.argv[3]), unit="D", tz="UTC")
    best, best_computing = float("inf"), float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        computing = run(directory, year)
        best, best_computing = min(best, time.perf_counter() - began), min(best_computing, computing)
    print(best, best_computing)


main()
