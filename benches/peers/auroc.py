"""Times scikit-learn's AUROC, the peer of `cargo xtask bench auroc`.

Half of the scores are in-distribution (the greater ones), half not; normal, two standard
deviations apart, rounded to --decimals so that ties occur if asked. ROC AUC of two shifted normal
samples is known: Phi(shift / sqrt 2).
"""

from __future__ import annotations

import math

import common  # first: it cleans the environment numpy reads
import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

SHIFT = 2.0


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--n", type=int, default=10_000_000, help="scores in all")
    options.add_argument("--decimals", type=int, help="round the scores, which makes ties")
    options.add_argument("--metric", choices=("auroc", "average-precision"), default="auroc")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)

    rng = np.random.default_rng(arguments.seed)
    scores = rng.standard_normal(arguments.n)
    positive = np.arange(arguments.n) < arguments.n // 2
    scores[positive] += SHIFT
    if arguments.decimals is not None:
        scores = scores.round(arguments.decimals)
    metric = roc_auc_score if arguments.metric == "auroc" else average_precision_score
    seconds = common.measure(lambda: metric(positive, scores), arguments.repeats, warmup=0)
    common.emit(
        {
            "bench": arguments.metric,
            "backend": "sklearn",
            "n": arguments.n,
            "threads": arguments.threads,
            **seconds,
            "value": float(metric(positive, scores)),
            "auroc_of_the_distributions": 0.5 * (1.0 + math.erf(SHIFT / 2.0)),
            "peak_rss_bytes": common.peak_rss_bytes(),
        },
        arguments.json,
    )


if __name__ == "__main__":
    main()
