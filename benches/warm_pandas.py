"""The view of benches/warm.rs in pandas: reads the bars, computes the features of a year, writes a Parquet file a month.

Vectorised throughout, without a loop over rows. For each line that it is given it does all of that once per variant and
prints the seconds that it took, and those of a processor. With `--check CACHE` it compares its features with the blocks
that Larder has in a cache.
"""
import pathlib
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa

pa.set_cpu_count(1)
pa.set_io_thread_count(1)

# As anybody writes it; and for who knows that a dictionary of numbers that never repeat is work for nothing.
VARIANTS = {"pandas, as it is": {}, "pandas, without dictionaries": {"use_dictionary": False}}


def wilder(values, period):
    """Wilder's average, begun from the first value. TA-Lib begins from a mean; after a month of history both are one."""
    return values.ewm(alpha=1 / period, adjust=False, min_periods=period).mean()


def features(bars):
    # A bar is known when it closes.
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
    out["atr_pct"] = 100 * average / close
    rise, fall = high.diff(), -low.diff()
    plus = 100 * wilder(rise.where((rise > fall) & (rise > 0), 0.0), 14) / average
    minus = 100 * wilder(fall.where((fall > rise) & (fall > 0), 0.0), 14) / average
    out["adx_14"] = wilder(100 * (plus - minus).abs() / (plus + minus), 14)
    return pd.DataFrame(out)


def year_of(path, start, end):
    bars = pd.read_parquet(path, columns=["ts", "high", "low", "close"])
    began = time.perf_counter(), time.process_time()
    all_of = features(bars)
    year = all_of.iloc[all_of.index.searchsorted(start) : all_of.index.searchsorted(end)]
    return year, time.perf_counter() - began[0], time.process_time() - began[1]


def run(paths, start, end, options):
    began, computing, busy = (time.perf_counter(), time.process_time()), 0, 0
    for path in paths:
        year, took, took_busy = year_of(path, start, end)
        computing, busy = computing + took, busy + took_busy
        for month, block in year.groupby(year.index.month, sort=False):
            name = path.parent / f"features-{month}.out"
            block.to_parquet(name, compression="zstd", compression_level=3, **options)
    return (time.perf_counter() - began[0], time.process_time() - began[1]), (computing, busy)


def check(paths, start, end, cache):
    """The largest differences, as parts of a feature's deviation."""
    import pyarrow.parquet as pq

    worst = {}
    for path in paths:
        blocks = sorted(pathlib.Path(cache).glob(f"blocks/view=*/fp=*/{path.parent.name}/*.parquet"))
        kept = pd.concat(pq.read_table(block, partitioning=None).to_pandas() for block in blocks)
        kept = kept.set_index("event_timestamp")
        year, _, _ = year_of(path, start, end)
        assert len(kept) == len(year) and (kept.index == year.index).all(), f"other times in {path}"
        for name in year:
            assert kept[name].notna().all() and year[name].notna().all(), f"a null of {name} in {path}"
            apart = np.abs(kept[name] - year[name]).max() / year[name].std()
            worst[name] = max(worst.get(name, 0), apart)
    for name, apart in worst.items():
        print(f"{name}: {apart:.1e}")


def main():
    directory, first, days = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    start, end = (pd.Timestamp(day, unit="D", tz="UTC") for day in [first, first + days])
    paths = sorted(directory.glob("symbol=*/bars.parquet"))
    if sys.argv[4:5] == ["--check"]:
        return check(paths, start, end, sys.argv[5])
    for options in VARIANTS.values():
        run(paths[:1], start, end, options)
    print("ready", flush=True)
    for _ in sys.stdin:
        for name, options in VARIANTS.items():
            whole, computing = run(paths, start, end, options)
            print(f"{name}: {whole[0]} {whole[1]}")
            if not options:
                print(f"pandas, its computing: {computing[0]} {computing[1]}")
        print(flush=True)


main()
