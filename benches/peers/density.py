"""Fits full Gaussians class by class and scores rows, in f64, with scipy, PyTorch and scikit-learn.

The peers of `cargo xtask bench density`. The score is logsumexp over classes of the log-density
without priors. Every backend sees the same features, and the scores of each are compared with
scipy's, so that a fast wrong answer shows.

scipy and torch: mean, covariance as one product, Cholesky factor, triangular solves. sklearn:
QuadraticDiscriminantAnalysis with an eigendecomposition a class; it divides covariances by n where
the others divide by n - 1, which is the deviation it shows. ddu: MultivariateNormal as DDU's
released code uses it, in batches.
"""

from __future__ import annotations

from collections.abc import Callable

import common  # first: it cleans the environment numpy reads
import numpy as np
import scipy.linalg
import scipy.special
import torch
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

ROWS_A_BATCH = 10_000
Model = object


def features(n: int, d: int, n_classes: int, separation: float, seed: int, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated classes around separate means, the same means for every part: [n, d], labels i mod C."""
    means = separation * np.random.default_rng(seed).standard_normal((n_classes, d))
    labels = np.arange(n) % n_classes
    x = np.random.default_rng([seed, part]).standard_normal((n, d))
    x[:, 1:] += 0.5 * x[:, :-1]
    x += means[labels]
    return x, labels


def batches(n: int):
    return (slice(start, min(start + ROWS_A_BATCH, n)) for start in range(0, n, ROWS_A_BATCH))


def fit_scipy(x: np.ndarray, labels: np.ndarray, n_classes: int) -> Model:
    model = []
    for class_idx in range(n_classes):
        rows = x[labels == class_idx]
        mean = rows.mean(axis=0)
        rows -= mean
        factor = scipy.linalg.cholesky(rows.T @ rows / (len(rows) - 1), lower=True, overwrite_a=True)
        model.append((mean, factor, 2.0 * np.log(np.diag(factor)).sum()))
    return model


def score_scipy(model: Model, x: np.ndarray) -> np.ndarray:
    scores = np.empty(len(x))
    constant = x.shape[1] * np.log(2.0 * np.pi)
    for rows in batches(len(x)):
        log_density = np.empty((rows.stop - rows.start, len(model)))
        for class_idx, (mean, factor, log_determinant) in enumerate(model):
            centred = (x[rows] - mean).T
            white = scipy.linalg.solve_triangular(factor, centred, lower=True, overwrite_b=True, check_finite=False)
            squared = np.einsum("ij,ij->j", white, white)
            log_density[:, class_idx] = -0.5 * (constant + log_determinant + squared)
        scores[rows] = scipy.special.logsumexp(log_density, axis=1)
    return scores


def fit_torch(x: np.ndarray, labels: np.ndarray, n_classes: int) -> Model:
    x_t, labels_t = torch.from_numpy(x), torch.from_numpy(labels)
    model = []
    for class_idx in range(n_classes):
        rows = x_t[labels_t == class_idx]
        mean = rows.mean(dim=0)
        rows -= mean
        factor = torch.linalg.cholesky(rows.T @ rows / (len(rows) - 1))
        model.append((mean, factor, 2.0 * factor.diagonal().log().sum()))
    return model


def score_torch(model: Model, x: np.ndarray) -> np.ndarray:
    x_t = torch.from_numpy(x)
    scores = torch.empty(len(x), dtype=torch.float64)
    constant = x.shape[1] * np.log(2.0 * np.pi)
    for rows in batches(len(x)):
        log_density = []
        for mean, factor, log_determinant in model:
            white = torch.linalg.solve_triangular(factor, (x_t[rows] - mean).T, upper=False)
            log_density.append(-0.5 * (constant + log_determinant + white.square().sum(dim=0)))
        scores[rows] = torch.logsumexp(torch.stack(log_density), dim=0)
    return scores.numpy()


def fit_ddu(x: np.ndarray, labels: np.ndarray, n_classes: int) -> Model:
    x_t, labels_t = torch.from_numpy(x), torch.from_numpy(labels)
    means, covariances = [], []
    for class_idx in range(n_classes):
        rows = x_t[labels_t == class_idx]
        means.append(rows.mean(dim=0))
        rows -= means[-1]
        covariances.append(rows.T @ rows / (len(rows) - 1))
    return torch.distributions.MultivariateNormal(torch.stack(means), torch.stack(covariances), validate_args=False)


def score_ddu(model: Model, x: np.ndarray) -> np.ndarray:
    x_t = torch.from_numpy(x)
    # log_prob copies every row once a class.
    parts = [torch.logsumexp(model.log_prob(rows[:, None, :]), dim=1) for rows in x_t.split(ROWS_A_BATCH // 10)]
    return torch.cat(parts).numpy()


def fit_sklearn(x: np.ndarray, labels: np.ndarray, n_classes: int) -> Model:
    priors = np.full(n_classes, 1.0 / n_classes)
    return QuadraticDiscriminantAnalysis(solver="eigen", priors=priors).fit(x, labels)


def score_sklearn(model: Model, x: np.ndarray) -> np.ndarray:
    # decision_function leaves out d ln 2 pi and adds the log of the (equal) priors.
    shift = np.log(len(model.classes_)) - 0.5 * x.shape[1] * np.log(2.0 * np.pi)
    scores = np.empty(len(x))
    for rows in batches(len(x)):
        scores[rows] = scipy.special.logsumexp(model.decision_function(x[rows]), axis=1) + shift
    return scores


BACKENDS: dict[str, tuple[Callable, Callable]] = {
    "scipy": (fit_scipy, score_scipy),
    "torch": (fit_torch, score_torch),
    "sklearn": (fit_sklearn, score_sklearn),
    "ddu": (fit_ddu, score_ddu),
}


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--backend", choices=(*BACKENDS, "all"), default="all")
    options.add_argument("--n", type=int, default=45_000, help="training rows")
    options.add_argument("--d", type=int, default=512, help="dimensions")
    options.add_argument("--classes", type=int, default=10)
    options.add_argument("--separation", type=float, default=3.0, help="distance of the class means")
    options.add_argument("--rows", type=int, default=10_000, help="rows to score")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)

    x, labels = features(arguments.n, arguments.d, arguments.classes, arguments.separation, arguments.seed, part=0)
    test, _ = features(arguments.rows, arguments.d, arguments.classes, arguments.separation, arguments.seed, part=1)
    first_rows = slice(0, min(arguments.rows, 1000))
    reference = score_scipy(fit_scipy(x, labels, arguments.classes), test[first_rows])
    for backend in BACKENDS if arguments.backend == "all" else (arguments.backend,):
        fit, score = BACKENDS[backend]
        fitting = common.measure(lambda: fit(x, labels, arguments.classes), arguments.repeats, warmup=0)
        model = fit(x, labels, arguments.classes)
        scoring = common.measure(lambda: score(model, test), arguments.repeats, warmup=0)
        deviation = np.abs(score(model, test[first_rows]) - reference).max() / np.abs(reference).max()
        common.emit(
            {
                "bench": "density",
                "backend": backend,
                "n": arguments.n,
                "d": arguments.d,
                "classes": arguments.classes,
                "rows": arguments.rows,
                "threads": arguments.threads,
                "fit_median_s": fitting["median_s"],
                "fit_min_s": fitting["min_s"],
                "score_median_s": scoring["median_s"],
                "score_min_s": scoring["min_s"],
                "median_s": fitting["median_s"] + scoring["median_s"],
                "deviation_from_scipy": float(deviation),
                "features_bytes": x.nbytes,
                "peak_rss_bytes": common.peak_rss_bytes(),
            },
            arguments.json,
        )


if __name__ == "__main__":
    main()
