"""Reference numbers of DICE, KL matching, GradNorm, OpenMax, VRA, LTS and ensembles: crates/collapse-verify/fixtures/public/ood_head.*

    pip install torch numpy scipy safetensors && pip install --no-deps pytorch-ood==0.4.0
    python head_detectors.py ../../crates/collapse-verify/fixtures/public

Inputs are drawn here. `own_f64` are the papers' formulas in float64 with NumPy and SciPy, `scores` what pytorch-ood says in float32
(OpenMax: float64).
"""

import json
import sys
from pathlib import Path

import numpy as np
import scipy
import torch
from safetensors.numpy import save_file
from scipy.optimize import brentq
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import entropy

import pytorch_ood
from pytorch_ood.detector import DICE, LTS, VRA, GradNorm, KLMatching, OpenMax

N, TEST, D, C, MEMBERS = 240, 40, 16, 6, 3
TAIL, REVISED = 12, 4


def inputs():
    draw = np.random.default_rng(20261126)
    centres = 2.0 * draw.standard_normal((C, D))
    labels = np.arange(N) % C
    train = np.abs(centres[labels] + draw.standard_normal((N, D)))
    own = np.arange(TEST) % C
    spread = np.where(np.arange(TEST) < TEST // 2, 1.0, 3.0)[:, None]
    test = np.abs(centres[own] + spread * draw.standard_normal((TEST, D)))
    # A head that knows the classes: least squares on one-hot labels, and noise.
    solution = 8.0 * np.linalg.lstsq(np.c_[train, np.ones(N)], np.eye(C)[labels], rcond=None)[0].T
    solution += 0.05 * draw.standard_normal(solution.shape)
    weight, bias = np.ascontiguousarray(solution[:, :D]), np.ascontiguousarray(solution[:, D])
    logits = test @ weight.T + bias
    # pytorch-ood measures distances only to classes that it predicts for some row of the batch.
    assert len(set(logits.argmax(1))) == C, np.bincount(logits.argmax(1), minlength=C)
    members = logits + draw.standard_normal((MEMBERS, TEST, C))
    return train, labels.astype(np.int64), test, weight, bias, members


def weibull_tail(distances):
    """libMR's translation, and the shape and scale of greatest likelihood."""
    tail = np.sort(distances)[-TAIL:]
    x = tail + 10000.0 - tail.min()
    y = np.log(x) - np.log(x.max())

    def slope(c):
        weight = np.exp(c * y)
        return (weight * y).sum() / weight.sum() - 1.0 / c - y.mean()

    start = -1.0 / y.mean()
    shape = brentq(slope, start / 10.0, start * 100.0, xtol=1e-9, rtol=1e-14)
    log_scale = np.log(x.max()) + np.log(np.exp(shape * y).mean()) / shape
    return tail.min(), shape, log_scale


def openmax(train, labels, test):
    """Log-odds of the known classes."""
    tails, means = [], []
    for c in range(C):
        own = train[labels == c]
        means.append(own.mean(0))
        tails.append(weibull_tail(np.linalg.norm(own - means[c], axis=1)))
    scores = []
    for row in test:
        known, unknown = row.copy(), 0.0
        for rank, c in enumerate(np.argsort(-row)[:REVISED]):
            least, shape, log_scale = tails[c]
            moved = np.linalg.norm(row - means[c]) - least + 10000.0
            outside = -np.expm1(-np.exp(shape * (np.log(moved) - log_scale)))
            lost = row[c] * outside * (REVISED - rank) / REVISED
            known[c] -= lost
            unknown += lost
        scores.append(logsumexp(known) - unknown)
    return np.array(scores)


def own(train, labels, test, weight, bias, members):
    f_train, f = train @ weight.T + bias, test @ weight.T + bias
    energy = lambda z, w: logsumexp(z @ w.T + bias, axis=1)
    contributions = train.mean(0) * weight
    sparse = np.where(contributions > np.quantile(contributions, 0.7), weight, 0.0)
    p, q = softmax(f_train, axis=1), softmax(f, axis=1)
    typical = [p[p.argmax(1) == k].mean(0) for k in range(C) if (p.argmax(1) == k).any()]
    low, high = np.quantile(train, 0.4), np.quantile(train, 0.9)
    lows, highs = np.quantile(train, 0.01, axis=0), np.quantile(train, 0.99, axis=0)
    kept = max(1, D - round(D * (1 - 0.2)))
    scale = (test.sum(1) / np.sort(test, axis=1)[:, -kept:].sum(1)) ** 2
    networks = softmax(np.concatenate([f[None], members]), axis=2)
    mean = networks.mean(0)
    return {
        "dice70_energy": energy(test, sparse),
        "kl_matching": -np.min([entropy(q, d[None], axis=1) for d in typical], axis=0),
        "grad_norm": np.abs(test).sum(1) * np.abs(q - 1.0 / C).sum(1),
        "openmax": openmax(f_train, labels, f),
        "vra40_90": energy(np.where(test < low, 0.0, np.minimum(test, high)), weight),
        "vra_clip1_99": energy(np.clip(test, lows, highs), weight),
        "lts20": logsumexp(f * scale[:, None], axis=1),
        "ensemble_entropy": -entropy(mean, axis=1),
        "ensemble_mutual_information": -(entropy(mean, axis=1) - entropy(networks, axis=2).mean(0)),
    }


def library(train, labels, test, weight, bias):
    t = lambda array: torch.tensor(array, dtype=torch.float32)
    head = torch.nn.Linear(D, C)
    head.weight.data, head.bias.data = t(weight), t(bias)
    f_train, f = torch.tensor(train @ weight.T + bias), torch.tensor(test @ weight.T + bias)
    y = torch.tensor(labels)
    maps = lambda z: t(z)[:, :, None, None]
    vra = VRA(None, lambda z: head(z.flatten(1)), 0.01, 0.99).fit_feature_maps(maps(train), y)
    gradient = GradNorm(head, param_filter=lambda name: name == "weight")
    gradient.to("cpu")
    unknown = OpenMax(None, tailsize=TAIL, alpha=REVISED).fit_logits(f_train, y).predict_logits(f)
    found = {
        "po.dice70": DICE(None, head.weight, head.bias, 0.7).fit_features(t(train), y).predict_features(t(test)),
        "po.kl_matching": KLMatching(None).fit_logits(f_train.float(), y).predict_logits(f.float()),
        "po.grad_norm": gradient.predict(t(test)),
        "po.vra_clip1_99": vra.predict_feature_maps(maps(test)),
        "po.lts20": LTS(None, head, 0.2).predict_features(t(test)),
        "po.openmax": unknown,
    }
    return {name: scores.detach().double().numpy() for name, scores in found.items()}


def main():
    out = Path(sys.argv[1])
    train, labels, test, weight, bias, members = inputs()
    formulas = own(train, labels, test, weight, bias, members)
    scores = library(train, labels, test, weight, bias)
    formulas["openmax_unknown"] = 1.0 / (1.0 + np.exp(formulas["openmax"]))
    document = {
        "meta": {
            "set": "drawn",
            "pytorch_ood": pytorch_ood.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "note": "made by benches/peers/head_detectors.py; library code runs in float32",
        },
        "params": {"openmax": {"tail": TAIL, "revised": REVISED}},
        "library_to_own": {
            "po.dice70": ["dice70_energy", -1],
            "po.kl_matching": ["kl_matching", -1],
            "po.grad_norm": ["grad_norm", -1],
            "po.vra_clip1_99": ["vra_clip1_99", -1],
            "po.lts20": ["lts20", -1],
            "po.openmax": ["openmax_unknown", 1],
        },
        "own_f64": {key: list(value) for key, value in formulas.items()},
        "scores": {key: list(value) for key, value in scores.items()},
    }
    (out / "ood_head.json").write_text(json.dumps(document, indent=1) + "\n")
    save_file(
        {
            "train_features": train,
            "train_labels": labels,
            "test_features": test,
            "W": weight,
            "b": bias,
            **{f"member_{m}": np.ascontiguousarray(member) for m, member in enumerate(members)},
        },
        out / "ood_head.safetensors",
    )


if __name__ == "__main__":
    main()
