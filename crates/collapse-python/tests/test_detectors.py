"""Fitting, scoring, deciding, and what a set may be."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.neighbors import NearestNeighbors

import collapse


@pytest.fixture
def detectors(splits):
    return collapse.Detectors.fit(splits["train"], validation=splits["validation"])


def test_all_detectors_fit_and_score(detectors, splits):
    assert set(detectors.names) | set(detectors.skipped) <= set(collapse.detector_names())
    assert not detectors.skipped
    scores = detectors.score(splits["test"])
    assert list(scores) == detectors.names
    for values in scores.values():
        assert values.shape == (150,) and values.dtype == np.float64


def test_scores_are_those_of_scipy_and_scikit_learn(splits):
    train, test = splits["train"], splits["test"]
    detectors = collapse.Detectors.fit(train, settings={"knn_neighbours": 7})
    scores = detectors.score(test, ["energy", "max_softmax", "knn"])
    logits = test["logits"].astype(np.float64)
    np.testing.assert_allclose(scores["energy"], logsumexp(logits, axis=1), rtol=1e-12)
    # As log-odds, which do not saturate.
    others = np.sort(logits, axis=1)[:, :-1]
    odds = logits.max(axis=1) - logsumexp(others, axis=1)
    np.testing.assert_allclose(scores["max_softmax"], odds, rtol=1e-9)

    def unit(rows):
        rows = rows.astype(np.float64)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    search = NearestNeighbors(n_neighbors=7).fit(unit(train["features"]))
    distances, _ = search.kneighbors(unit(test["features"]))
    np.testing.assert_allclose(scores["knn"], -distances[:, -1], rtol=1e-9)


def test_layout_and_precision_do_not_change_a_bit(detectors, splits):
    test = splits["test"]
    expected = detectors.score(test)
    wide = np.zeros((300, 12), test["features"].dtype)
    wide[::2, ::2] = test["features"]
    layouts = [
        test["features"].astype(np.float64),
        np.asfortranarray(test["features"]),
        wide[::2, ::2],
        test["features"][::-1].copy()[::-1],
        test["features"].astype(test["features"].dtype.newbyteorder("S")),
        test["features"].tolist(),
    ]
    for features in layouts:
        found = detectors.score({"features": features, "logits": test["logits"]})
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_logits_follow_from_the_head(detectors, splits):
    keys = ("features", "weight", "bias")
    test = {key: splits["test"][key].astype(np.float64) for key in keys}
    with_logits = {**test, "logits": test["features"] @ test["weight"].T + test["bias"]}
    expected = detectors.score(with_logits, ["energy", "vim"])
    for name, values in detectors.score(test, ["energy", "vim"]).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-12)


def test_features_alone_serve_what_reads_features(splits):
    bare = {key: splits["train"][key] for key in ("features", "labels")}
    detectors = collapse.Detectors.fit(bare)
    assert {"knn", "gmm_features", "mahalanobis"} <= set(detectors.names)
    assert "export" in detectors.skipped["vim"]
    named = collapse.Detectors.fit(bare, detectors=["knn", "mahalanobis"])
    assert named.names == ["knn", "mahalanobis"]
    assert set(named.score(splits["test"]["features"])) == {"knn", "mahalanobis"}


def test_decisions_keep_the_promised_share(network):
    detectors = collapse.Detectors.fit(
        network.split(400), validation=network.split(999), detectors=["gmm_features"]
    )
    shares = [detectors.decide(network.split(500), accept=0.9).accepted.mean() for _ in range(20)]
    threshold = detectors.threshold("gmm_features", accept=0.9)
    low, high = threshold.share
    # Of the threshold's own share, 10,000 rows tell three digits or so.
    assert low - 0.01 < np.mean(shares) < high + 0.01
    assert threshold.n == 999 and low < 0.9 < high

    decisions = detectors.decide(network.split(200, shift=4.0), accept=0.9)
    assert decisions.detector == "gmm_features"
    assert decisions.n_rejected == (~decisions.accepted).sum() > 150
    decisions = detectors.decide(network.split(200, shift=0.5), accept=0.9)
    assert 0 < decisions.n_rejected < 200
    np.testing.assert_array_equal(decisions.accepted, decisions.confidences >= threshold.value)
    low, high = decisions.rejected_interval()
    assert low < decisions.n_rejected / 200 < high


def test_normalisation_is_remembered(splits, tmp_path):
    detectors = collapse.Detectors.fit(splits["train"], l2=True, detectors=["gmm_features"])
    assert detectors.l2
    test = splits["test"]["features"]
    unit = test / np.linalg.norm(test, axis=1, keepdims=True)
    found = detectors.score(test)["gmm_features"]
    np.testing.assert_allclose(detectors.score(unit)["gmm_features"], found, rtol=1e-4)
    with pytest.raises(ValueError, match="disagree: l2 is true and false"):
        detectors.score({"features": test, "l2": False})


def errors(detectors, splits, file):
    train, test = splits["train"], splits["test"]
    headless = {key: value for key, value in train.items() if key not in ("weight", "bias")}
    nan = test["features"].copy()
    nan[3, 2] = np.nan
    fit = collapse.Detectors.fit
    return [
        (ValueError, "no detector `vimm`: choose among max_softmax", lambda: fit(train, detectors=["vimm"])),
        (ValueError, "unknown field `neighbours`", lambda: fit(train, settings={"neighbours": 3})),
        (ValueError, "settings, knn_neighbours: ", lambda: fit(train, settings={"gen_gamma": 0.2, "knn_neighbours": -1})),
        (ValueError, "settings: \"gmm_covariance\" is not read; give the argument covariance instead",
         lambda: fit(train, settings={"gmm_covariance": "Tied"})),
        (ValueError, "settings: \"gmm_jitter\" is not read; give the argument jitter instead",
         lambda: collapse.evaluate(train, test, {}, settings={"gmm_jitter": {"Fixed": 0.5}})),
        (ValueError, "no training features; give train, or fitted Detectors as detectors",
         lambda: collapse.evaluate(None, test, {"far": splits["far"]})),
        (ValueError, "on whether the head saw normalised features .* or give the argument l2",
         lambda: collapse.evaluate({**train, "l2": True}, {**test, "l2": False}, {})),
        (ValueError, "a_file holds no detectors that this version reads .*; make it with Detectors.save",
         lambda: collapse.Detectors.load(file)),
        (ValueError, "bootstrap is -1: give 1 to 1000000 resamples, e.g. 1000",
         lambda: collapse.evaluate(train, test, {"far": splits["far"]}, bootstrap=-1)),
        (ValueError, 'no covariance "round"', lambda: fit(train, covariance="round")),
        (ValueError, "train has no labels", lambda: fit(train["features"])),
        (ValueError, "disagree: the feature dimension is 6 and 5", lambda: detectors.score(np.ones((2, 5)))),
        (ValueError, r"features \[3, 2\] is NaN", lambda: detectors.score(nan, ["knn"])),
        (ValueError, "logits are needed: export logits", lambda: fit(headless).score(test["features"], ["energy"])),
        (ValueError, "no threshold for vim: .* of none; give validation to Detectors.fit", lambda: fit(train).threshold("vim")),
        (ValueError, "vim was not fitted: logits are needed|vim was not fitted: the last linear layer",
         lambda: fit({key: train[key] for key in ("features", "labels")}).threshold("vim")),
        (ValueError, "the share to accept is 1.5", lambda: detectors.decide(test, accept=1.5)),
        (ValueError, 'no role for "feature"', lambda: detectors.score({"feature": nan})),
        (ValueError, 'has no "bias"', lambda: detectors.score({"features": nan, "weight": train["weight"]})),
        (ValueError, "head.weight", lambda: detectors.score(
            {"features": test["features"], "weight": np.ones((4, 5)), "bias": np.ones(4)})),
        (ValueError, r"shape \[150\]: give a matrix", lambda: detectors.score(test["labels"])),
        (TypeError, "dtype complex128", lambda: detectors.score(np.ones((2, 6), complex))),
        (TypeError, "labels has dtype float64: give an array of integers",
         lambda: fit({**train, "labels": train["labels"] * 1.0})),
        (ValueError, "label -2 at row 1 cannot be a class", lambda: fit(
            {"features": np.ones((2, 6)), "labels": [0, -2]})),
        (ValueError, "subtract 1 from each", lambda: fit({**train, "labels": train["labels"] + 1})),
        (FileNotFoundError, "nowhere.npz", lambda: detectors.score("nowhere.npz")),
        (FileNotFoundError, "cannot read nowhere", lambda: collapse.Detectors.load("nowhere")),
        (OSError, "a_file", lambda: detectors.save(file / "below")),
    ]  # fmt: skip


def test_errors_have_the_words_of_the_command_line(detectors, splits, tmp_path):
    file = tmp_path / "a_file"
    file.touch()
    for kind, words, action in errors(detectors, splits, file):
        with pytest.raises(kind, match=words) as raised:
            action()
        assert " --" not in str(raised.value), "remedies are arguments of Python"


def test_a_damaged_file_is_refused(detectors, tmp_path):
    path = tmp_path / "detectors"
    detectors.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged or edited.*; make it again with Detectors.save$"):
        collapse.Detectors.load(path)


def test_logits_follow_from_the_head_of_the_training_set(detectors, splits):
    test = splits["test"]
    expected = detectors.score({key: test[key] for key in ("features", "weight", "bias")})
    found = detectors.score(test["features"])
    assert list(found) == detectors.names
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_what_cannot_score_is_told(splits):
    headless = {key: value for key, value in splits["train"].items() if key not in ("weight", "bias")}
    detectors = collapse.Detectors.fit(headless)
    with pytest.warns(UserWarning, match="without energy: logits are needed") as told:
        scores = detectors.score(splits["test"]["features"])
    assert len(told) == 1
    assert "knn" in scores and "energy" not in scores


def test_labels_of_minus_one_mark_a_set_without_classes(detectors, splits):
    far = splits["far"]
    marked = {**far, "labels": np.full(len(far["labels"]), -1)}
    np.testing.assert_array_equal(detectors.score(marked)["knn"], detectors.score(far)["knn"])


def test_labels_of_what_is_scored_do_not_matter(detectors, splits):
    far = splits["far"]
    n = len(far["features"])
    expected = detectors.decide(far).accepted
    for labels in (np.full(n, 99), np.full(n, 0.5), np.array(["cat"] * n)):
        np.testing.assert_array_equal(detectors.decide({**far, "labels": labels}).accepted, expected)


@pytest.mark.parametrize("name", ["nci", "fdbd", "energy"])
def test_another_number_of_classes_is_another_network(detectors, splits, name):
    features, logits = splits["test"]["features"], splits["test"]["logits"]
    for wrong in (logits[:, 1:], np.hstack([logits, logits])):
        with pytest.raises(ValueError, match="the number of classes is"):
            detectors.score({"features": features, "logits": wrong}, [name])


def test_the_head_of_another_network_is_refused(detectors, splits):
    test = splits["test"]
    with pytest.raises(ValueError, match="their heads differ"):
        detectors.score({"features": test["features"], "weight": -test["weight"], "bias": test["bias"]})


def test_the_interpreter_runs_beside_the_computation():
    id, ood = np.random.default_rng(0).normal(size=(2, 20_000))
    intervals = lambda: collapse.metrics.bootstrap_intervals(id, ood, resamples=400)
    thread = threading.Thread(target=intervals)
    thread.start()
    turns = 0
    while thread.is_alive():
        time.sleep(0.001)
        turns += 1
    # A computation that kept the interpreter would leave no turn, or one.
    assert turns > 10


def test_features_in_f64_are_read_in_place():
    program = """
import resource, sys
import numpy as np
import collapse
rng = np.random.default_rng(0)
train = {"features": rng.normal(size=(100, 256)), "labels": np.arange(100) % 2}
detectors = collapse.Detectors.fit(train, detectors=["feature_norm"])
rows = np.ones((100_000, 256))
detectors.score(rows[:100])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
detectors.score(rows)
unit = 1024 if sys.platform == "darwin" else 1
print((peak() - before) / unit / 1024)
"""
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # The features take 195 MiB.
    assert float(done.stdout) < 50
