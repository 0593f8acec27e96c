"""Times the k-th nearest neighbour distance: faiss-cpu's flat index and scikit-learn.

The peer of `cargo xtask bench knn`: f32 features on the unit sphere, Euclidean distance to the
k-th neighbour in the bank. Building the index (a copy, for a flat one) is timed apart.
"""

from __future__ import annotations

import common  # first: it cleans the environment numpy reads
import faiss
import numpy as np
from sklearn.neighbors import NearestNeighbors


def unit_rows(n: int, d: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def build_faiss(bank: np.ndarray, _k: int) -> faiss.Index:
    index = faiss.IndexFlatL2(bank.shape[1])
    index.add(bank)
    return index


def query_faiss(index: faiss.Index, queries: np.ndarray, k: int) -> np.ndarray:
    squared, _ = index.search(queries, k)
    return np.sqrt(np.maximum(squared[:, -1], 0.0))


def build_sklearn(bank: np.ndarray, k: int) -> NearestNeighbors:
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(bank)


def query_sklearn(index: NearestNeighbors, queries: np.ndarray, _k: int) -> np.ndarray:
    distances, _ = index.kneighbors(queries)
    return distances[:, -1]


BACKENDS = {"faiss": (build_faiss, query_faiss), "sklearn": (build_sklearn, query_sklearn)}


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--backend", choices=(*BACKENDS, "all"), default="all")
    options.add_argument("--n", type=int, default=45_000, help="rows of the bank")
    options.add_argument("--d", type=int, default=512)
    options.add_argument("--queries", type=int, default=10_000)
    options.add_argument("--k", type=int, default=50)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    if arguments.k > arguments.n:
        options.error(f"--k {arguments.k} neighbours in a bank of {arguments.n}: lower --k or raise --n")
    common.limit_threads(arguments.threads)

    bank = unit_rows(arguments.n, arguments.d, arguments.seed)
    queries = unit_rows(arguments.queries, arguments.d, arguments.seed + 1)
    exact = np.partition(((queries[:20, None].astype(np.float64) - bank[None]) ** 2).sum(-1), arguments.k - 1)
    expected = np.sqrt(exact[:, arguments.k - 1])
    for backend in BACKENDS if arguments.backend == "all" else (arguments.backend,):
        build, query = BACKENDS[backend]
        index = build(bank, arguments.k)
        building = common.measure(lambda: build(bank, arguments.k), arguments.repeats)
        searching = common.measure(lambda: query(index, queries, arguments.k), arguments.repeats)
        deviation = np.abs(query(index, queries[:20], arguments.k) - expected).max()
        common.emit(
            {
                "bench": "knn",
                "backend": backend,
                "n": arguments.n,
                "d": arguments.d,
                "queries": arguments.queries,
                "k": arguments.k,
                "threads": arguments.threads,
                "build_median_s": building["median_s"],
                **searching,
                "largest_error": float(deviation),
                "peak_rss_bytes": common.peak_rss_bytes(),
            },
            arguments.json,
        )


if __name__ == "__main__":
    main()
