"""Detection, calibration and selective-prediction metrics, exact in float64.

Scores are confidences: larger = more in-distribution. What does not exist is a ValueError, never 0.5.
"""

from ._collapse import (
    accuracy,
    aupr,
    aurc,
    auroc,
    auroc_interval,
    bootstrap_intervals,
    calibration,
    detection,
    detection_error,
    ece,
    fpr95,
    fpr_at_tpr,
    nll,
    share_interval,
    temperature,
)

__all__ = [
    "accuracy",
    "aupr",
    "aurc",
    "auroc",
    "auroc_interval",
    "bootstrap_intervals",
    "calibration",
    "detection",
    "detection_error",
    "ece",
    "fpr95",
    "fpr_at_tpr",
    "nll",
    "share_interval",
    "temperature",
]
