"""Metrics against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from collapse import Threshold, metrics


@pytest.fixture(params=["continuous", "tied"])
def scores(request):
    rng = np.random.default_rng(3)
    id, ood = rng.normal(1.0, 1.0, 300), rng.normal(0.0, 1.5, 200)
    return (id, ood) if request.param == "continuous" else (id.round(1), ood.round(1))


def together(id, ood):
    return np.r_[np.ones(len(id)), np.zeros(len(ood))], np.r_[id, ood]


def test_ranking_metrics(scores):
    truth, values = together(*scores)
    assert metrics.auroc(*scores) == pytest.approx(reference.roc_auc_score(truth, values), abs=1e-14)
    for positive, truth, values in [("id", truth, values), ("ood", 1 - truth, -values)]:
        expected = reference.average_precision_score(truth, values)
        assert metrics.aupr(*scores, positive=positive) == pytest.approx(expected, abs=1e-14)
        fpr, tpr, _ = reference.roc_curve(truth, values, drop_intermediate=False)
        assert metrics.fpr95(*scores, positive=positive) == fpr[np.argmax(tpr >= 0.95)]
        assert metrics.fpr_at_tpr(*scores, 0.8, positive=positive) == fpr[np.argmax(tpr >= 0.8)]
    fpr, tpr, _ = reference.roc_curve(*together(*scores), drop_intermediate=False)
    assert metrics.detection_error(*scores) == pytest.approx(np.min(0.5 * (1 - tpr + fpr)), abs=1e-15)


def test_detection_is_all_of_them_with_intervals(scores):
    found = metrics.detection(*scores, bootstrap=200, seed=1)
    assert found["auroc"] == metrics.auroc(*scores)
    assert found["aupr_out"] == metrics.aupr(*scores, positive="ood")
    assert found["fpr95_id_positive"] == metrics.fpr95(*scores)
    low, high = metrics.auroc_interval(*scores)
    assert found["auroc_interval"] == {"low": low, "high": high}
    assert low < found["auroc"] < high
    assert found["bootstrap"] == metrics.bootstrap_intervals(*scores, resamples=200, seed=1)
    assert found["bootstrap"]["auroc"]["low"] == pytest.approx(low, abs=0.02)
    assert metrics.detection([2.0], [1.0, 0.5])["auroc_interval"] is None


def test_delong_covers_as_often_as_it_says():
    rng = np.random.default_rng(11)
    true = stats.norm.cdf(1 / np.sqrt(2))
    inside = 0
    for _ in range(400):
        low, high = metrics.auroc_interval(rng.normal(1, 1, 80), rng.normal(0, 1, 80), level=0.9)
        inside += low <= true <= high
    assert 0.86 < inside / 400 < 0.94


def test_calibration_metrics():
    rng = np.random.default_rng(5)
    logits, labels = rng.normal(size=(500, 5)), rng.integers(5, size=500)
    logits[np.arange(500), labels] += 1
    softmax = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    assert metrics.accuracy(logits, labels) == (softmax.argmax(axis=1) == labels).mean()
    assert metrics.nll(logits, labels) == pytest.approx(reference.log_loss(labels, softmax), rel=1e-12)

    confidences, correct = softmax.max(axis=1), softmax.argmax(axis=1) == labels
    bins = np.ceil(confidences * 15 - 1)
    gaps = [(correct[bins == b].sum() - confidences[bins == b].sum()) for b in range(15)]
    expected = np.abs(gaps).sum() / 500
    assert metrics.ece(confidences, correct) == pytest.approx(expected, rel=1e-12)
    found = metrics.calibration(logits, labels)
    assert found["ece"] == pytest.approx(expected, rel=1e-9)
    temperature = metrics.temperature(logits, labels)
    at = lambda t: metrics.calibration(logits, labels, temperature=t)["nll"]
    assert at(temperature) < min(at(0.99 * temperature), at(1.01 * temperature))

    order = np.argsort(-confidences)
    risks = np.cumsum(~correct[order]) / np.arange(1, 501)
    assert metrics.aurc(confidences, correct) == pytest.approx(risks.mean(), rel=1e-12)


def test_shares_and_thresholds():
    low, high = metrics.share_interval(7, 50, level=0.9)
    expected = stats.binomtest(7, 50).proportion_ci(0.9, "exact")
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    held_out = np.arange(99.0)
    threshold = Threshold.conformal(held_out[::-1], accept=0.95)
    # The fifth smallest of 99: a fresh score is among the four below it with probability 5 / 100.
    assert threshold.value == 4.0 and threshold.n == 99
    assert threshold.accepts(4.0) and not threshold.accepts(3.9)
    assert threshold.share == pytest.approx(stats.beta(95, 5).interval(0.95), rel=1e-9)
    assert Threshold.conformal([1.0, 2.0], accept=0.95).value == -np.inf


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: metrics.auroc([], [1.0]), "undefined: there are no id scores"),
        (lambda: metrics.auroc([1.0], [0.0, np.nan]), r"ood scores\[1\] is NaN"),
        (lambda: metrics.aupr([1.0], [0.0], positive="both"), 'no positive class "both": choose id or ood'),
        (lambda: metrics.auroc_interval([1.0, 2.0], [0.0, 1.0], level=95), "confidence level is 95"),
        (lambda: metrics.aurc([1.0, 0.0], [True]), "correct has 1 entries, expected 2"),
        (lambda: metrics.bootstrap_intervals([1.0], [0.0], resamples=-1), "resamples is -1: give 1 to 1000000 resamples"),
        (lambda: metrics.bootstrap_intervals([1.0], [0.0], resamples=10**9), "resamples is 1000000000: give 1 to 1000000"),
        (lambda: metrics.detection([1.0], [0.0], bootstrap=0), "bootstrap is 0: give 1 to 1000000 resamples"),
        (lambda: metrics.detection([1.0], [0.0], bootstrap=9, seed=-2), "seed is -2, negative: give a whole number from 0 on"),
        (lambda: metrics.ece([0.5], [True], n_bins=-1), "n_bins is -1, negative"),
        (lambda: metrics.share_interval(-1, 3), "hits is -1, negative"),
        (lambda: metrics.nll([[1.0, 2.0]], [2]), "label 2 of row 0 is not one of the 2 classes"),
    ],
)
def test_undefined_metrics_are_errors(action, words):
    with pytest.raises(ValueError, match=words):
        action()
