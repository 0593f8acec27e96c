"""Densities against scipy and scikit-learn, neural collapse against its definition."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture

import collapse
from collapse.density import EmMixture, LabelledGaussianMixture


def test_class_gaussians_are_those_of_scipy(splits):
    train, test = splits["train"], splits["test"]["features"].astype(np.float64)
    model = LabelledGaussianMixture.fit(train["features"], train["labels"])
    of_class = [train["features"][train["labels"] == c].astype(np.float64) for c in range(4)]
    logs = [stats.multivariate_normal(rows.mean(axis=0), np.cov(rows.T)).logpdf(test) for rows in of_class]
    np.testing.assert_allclose(model.log_density(test), np.stack(logs, axis=1), rtol=1e-9)
    np.testing.assert_allclose(model.score(test), logsumexp(logs, axis=0), rtol=1e-9)
    np.testing.assert_allclose(model.covariance(2), np.cov(of_class[2].T), rtol=1e-9)
    np.testing.assert_allclose(model.means, [rows.mean(axis=0) for rows in of_class], rtol=1e-12)
    assert model.counts == [len(rows) for rows in of_class] and model.jitter == 0.0
    priors = np.log(model.counts)
    np.testing.assert_array_equal(model.predict(test), np.argmax(np.stack(logs, axis=1) + priors, axis=1))


def test_shrinkage_is_that_of_scikit_learn(splits):
    train = splits["train"]
    model = LabelledGaussianMixture.fit(train["features"], train["labels"], covariance="ledoit-wolf")
    rows = train["features"][train["labels"] == 1].astype(np.float64)
    np.testing.assert_allclose(model.covariance(1), LedoitWolf().fit(rows).covariance_, rtol=1e-9)


def test_a_class_that_is_not_there_is_told_apart_from_a_form_without_matrices(splits):
    train = splits["train"]
    model = LabelledGaussianMixture.fit(train["features"], train["labels"])
    for class_index in (4, -1):
        with pytest.raises(IndexError, match=f"no class {class_index}: there are 4, give 0 to 3"):
            model.covariance(class_index)


def test_one_cluster_of_em_is_a_gaussian(splits):
    rows = splits["train"]["features"]
    model = EmMixture.fit(rows, 1)
    expected = GaussianMixture(1, random_state=0).fit(rows.astype(np.float64)).score_samples(rows.astype(np.float64))
    np.testing.assert_allclose(model.score(rows), expected, rtol=1e-4)
    np.testing.assert_array_equal(model.weights, [1.0])
    again = EmMixture.fit(rows, 3)
    np.testing.assert_array_equal(again.score(rows), EmMixture.fit(rows, 3).score(rows))


def test_densities_say_what_is_wrong(splits):
    train = splits["train"]
    with pytest.raises(ValueError, match="class 0 has 1 of the 2 samples"):
        LabelledGaussianMixture.fit(train["features"][:3], [0, 1, 1])
    with pytest.raises(ValueError, match="jitter is -1: choose a finite number"):
        LabelledGaussianMixture.fit(train["features"], train["labels"], jitter=-1)
    with pytest.raises(ValueError, match="5 columns, expected 6"):
        LabelledGaussianMixture.fit(train["features"], train["labels"]).score(np.ones((1, 5)))


def test_neural_collapse_is_its_definition(splits):
    train = {key: value.astype(np.float64) for key, value in splits["train"].items() if key != "labels"}
    labels = splits["train"]["labels"]
    found = collapse.neural_collapse(splits["train"]["features"], labels, train["weight"], train["bias"])
    z = train["features"]
    means = np.stack([z[labels == c].mean(axis=0) for c in range(4)])
    centred = means - means.mean(axis=0)
    within = (z - means[labels]).T @ (z - means[labels]) / len(z)
    between = centred.T @ centred / 4
    nc1 = np.trace(within @ np.linalg.pinv(between))
    assert found["nc1"] == pytest.approx(nc1, rel=1e-9)
    assert found["nc1_over_classes"] == pytest.approx(nc1 / 4, rel=1e-9)
    m, w = centred / np.linalg.norm(centred), train["weight"] / np.linalg.norm(train["weight"])
    norms = np.linalg.norm(centred, axis=1)
    assert found["nc2_norms_means"] == pytest.approx(norms.std(ddof=1) / norms.mean(), rel=1e-9)
    decided = (z @ train["weight"].T + train["bias"]).argmax(axis=1)
    nearest = ((z[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert found["nc4"] == (decided != nearest).mean()
    assert found["accuracy"] == (decided == labels).mean()
    assert found["nc3"] == pytest.approx(((w - m) ** 2).sum(), rel=1e-9)
    assert [one["count"] for one in found["classes"]] == np.bincount(labels).tolist()


def test_neural_collapse_says_what_is_wrong(splits):
    train = splits["train"]
    with pytest.raises(ValueError, match="class 4"):
        collapse.neural_collapse(train["features"], train["labels"], np.ones((5, 6)), np.ones(5))
    with pytest.raises(ValueError, match="head bias"):
        collapse.neural_collapse(train["features"], train["labels"], train["weight"], np.ones(5))
