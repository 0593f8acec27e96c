"""What every peer script shares: threads, timing, peak memory, one JSON line at the end.

Import this module before numpy or torch: it removes overrides that would make OpenBLAS
use other kernels than the ones it chooses itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

# OpenBLAS reads these once, when numpy loads it.
for _override in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_override, None)

REPOSITORY = Path(__file__).resolve().parents[2]


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options every script has."""
    options = argparse.ArgumentParser(
        description=(description or "").strip().splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    options.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of every library")
    options.add_argument("--json", action="store_true", help="print one JSON object a line, nothing else")
    return options


def limit_threads(threads: int) -> None:
    """Gives every BLAS and OpenMP pool of this process the same number of threads.

    Call it after the numeric libraries are imported: a pool that is not loaded yet cannot be
    limited.
    """
    if threads < 1:
        sys.exit(f"--threads {threads}: give at least 1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(threads)
    import threadpoolctl

    threadpoolctl.threadpool_limits(threads)


def measure(work: Callable[[], object], repeats: int, warmup: int = 1) -> dict[str, float]:
    """Seconds of `work`: median, least and greatest of `repeats` runs after `warmup` runs."""
    for _ in range(warmup):
        work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}


def peak_rss_bytes() -> int:
    """Largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def emit(record: dict[str, object], as_json: bool) -> None:
    """Prints a record: one JSON line, or aligned `name value` lines."""
    if as_json:
        print(json.dumps(record), flush=True)
        return
    for name, value in record.items():
        shown = f"{value:.6g}" if isinstance(value, float) else value
        print(f"{name:>22}  {shown}", flush=True)
    print(flush=True)
