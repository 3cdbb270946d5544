"""Reads the block that `cargo bench --bench block` wrote with other engines: same file, same session, one core.

BENCH_DIR=/tmp cargo bench --bench block && BENCH_DIR=/tmp taskset -c 0 python3 benches/compare.py
needs pyarrow and polars. Prints the median of reading, the sizes, and checks that all engines read the same bits.
"""

import os
import statistics
import tempfile
import time

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import polars
import pyarrow
import pyarrow.parquet as parquet

directory = os.environ.get("BENCH_DIR", tempfile.gettempdir())
path = os.path.join(directory, "block.parquet")
pyarrow.set_cpu_count(1)


def median(read, rounds=1000):
    for _ in range(50):
        read()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        read()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


table = parquet.read_table(path)
frame = polars.read_parquet(path)
for name in table.column_names[1:]:
    assert (table[name].to_numpy().view("u8") == frame[name].to_numpy().view("u8")).all(), name

plain = os.path.join(directory, "pyarrow.parquet")
parquet.write_table(table.replace_schema_metadata(None), plain, compression="zstd", compression_level=3)
print(f"size: larder {os.path.getsize(path)} bytes, pyarrow zstd-3 {os.path.getsize(plain)} bytes")
print(f"pyarrow read_table: {median(lambda: parquet.read_table(path, use_threads=False)):.0f} us")
print(f"polars read_parquet: {median(lambda: polars.read_parquet(path)):.0f} us")
