"""Fits a Gaussian mixture without labels in whitened principal components and scores rows, with scikit-learn.

The peer of `cargo xtask bench em`: PCA to unit variance, k-means as the start, full covariances, the same tolerance, iterations and
regularisation. scikit-learn starts k-means once, ours ten times, which is linfa's default.
"""

from __future__ import annotations

import common  # first: it cleans the environment numpy reads
import numpy as np
from density import features
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline


def fit(x: np.ndarray, n_clusters: int, n_components: int) -> Pipeline:
    whiten = PCA(n_components=n_components, whiten=True, svd_solver="covariance_eigh")
    mixture = GaussianMixture(n_components=n_clusters, tol=1e-3, reg_covar=1e-6, max_iter=200, random_state=1)
    return make_pipeline(whiten, mixture).fit(x)


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--n", type=int, default=45_000, help="rows to fit on")
    options.add_argument("--d", type=int, default=512)
    options.add_argument("--classes", type=int, default=10, help="Gaussians, and classes the rows are drawn from")
    options.add_argument("--components", type=int, default=32)
    options.add_argument("--queries", type=int, default=10_000)
    options.add_argument("--separation", type=float, default=3.0)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)

    data = (arguments.d, arguments.classes, arguments.separation, arguments.seed)
    train, _ = features(arguments.n, *data, 1)
    queries, _ = features(arguments.queries, *data, 2)
    model = fit(train, arguments.classes, arguments.components)
    fitting = common.measure(lambda: fit(train, arguments.classes, arguments.components), arguments.repeats)
    scoring = common.measure(lambda: model.score_samples(queries), arguments.repeats)
    common.emit(
        {
            "bench": "em",
            "n": arguments.n,
            "d": arguments.d,
            "threads": arguments.threads,
            "iterations": model[-1].n_iter_,
            "fit_median_s": fitting["median_s"],
            "score_median_s": scoring["median_s"],
            "peak_rss_bytes": common.peak_rss_bytes(),
        },
        arguments.json,
    )


if __name__ == "__main__":
    main()
