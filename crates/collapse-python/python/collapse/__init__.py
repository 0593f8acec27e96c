"""Out-of-distribution detection from the features of any network.

A *set* is what a network says about one split: a float array ``[N, D]`` of features (numpy, torch on the CPU, anything
with ``__array__`` or DLPack); a mapping of arrays with the keys ``features`` [N, D], ``labels`` [N], ``logits`` [N, C], ``weight``
[C, D], ``bias`` [C], ``l2``; or the path of a feature file. Every score is a confidence: larger = more in-distribution.

>>> import collapse, numpy as np
>>> rng = np.random.default_rng(0)
>>> labels = np.arange(400) % 2
>>> features = rng.normal(size=(400, 3)) + 4 * np.eye(2, 3)[labels]
>>> train = {"features": features[:200], "labels": labels[:200]}
>>> detectors = collapse.Detectors.fit(train, validation=features[200:], detectors=["gmm_features"])
>>> detectors.decide(np.full((2, 3), 20.0)).accepted
array([False, False])
"""

from . import density, metrics
from ._collapse import (
    Decisions,
    Detectors,
    Threshold,
    __version__,
    detector_names,
    evaluate,
    neural_collapse,
)

__all__ = [
    "Decisions",
    "Detectors",
    "Threshold",
    "__version__",
    "density",
    "detector_names",
    "evaluate",
    "metrics",
    "neural_collapse",
]
