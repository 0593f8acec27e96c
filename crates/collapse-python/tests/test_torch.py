"""Tensors of torch, pytorch-ood's own detectors, and the example."""

import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

import collapse

torch = pytest.importorskip("torch", reason="torch is not installed")


def tensors(arrays):
    return {key: torch.tensor(value) for key, value in arrays.items()}


def test_tensors_are_arrays(splits):
    train = tensors(splits["train"])
    train["weight"].requires_grad_()
    expected = collapse.Detectors.fit(splits["train"]).score(splits["test"])
    found = collapse.Detectors.fit(train).score(tensors(splits["test"]))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_bfloat16_is_told_what_to_do(splits):
    features = torch.tensor(splits["test"]["features"]).bfloat16()
    detectors = collapse.Detectors.fit(splits["train"], detectors=["knn"])
    for action in (
        lambda: detectors.score(features),
        lambda: detectors.score({"features": features}),
        lambda: collapse.metrics.auroc(features[:, 0], features[:, 1]),
    ):
        with pytest.raises(ValueError, match=r"is bfloat16, which numpy lacks: .* tensor\.float\(\)"):
            action()
    assert len(detectors.score(features.float())["knn"]) == len(features)


class OnlyDlpack:
    """An array of a framework that numpy knows by DLPack alone."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **arguments):
        return self.tensor.__dlpack__(**arguments)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


def test_dlpack_is_enough(splits):
    features = torch.tensor(splits["test"]["features"])
    detectors = collapse.Detectors.fit(splits["train"], detectors=["knn"])
    found = detectors.score(OnlyDlpack(features))
    np.testing.assert_array_equal(found["knn"], detectors.score(features)["knn"])


def peers(head):
    """pytorch-ood's detectors by our names, and whether they read logits instead of features."""
    from pytorch_ood import detector

    return {
        "max_softmax": (detector.MaxSoftmax(None), True),
        "max_logit": (detector.MaxLogit(None), True),
        "energy": (detector.EnergyBased(None), True),
        "softmax_entropy": (detector.Entropy(None), True),
        "knn": (detector.KNN(None, k=50), False),
        "vim": (detector.ViM(None, d=3, w=head.weight, b=head.bias), False),
        "mahalanobis": (detector.Mahalanobis(None), False),
        "relative_mahalanobis": (detector.RMD(None), False),
    }


def test_detectors_rank_as_pytorch_ood(splits):
    pytest.importorskip("pytorch_ood", reason="pytorch-ood is not installed")
    arrays = {name: {key: torch.tensor(value).float() for key, value in split.items() if key != "labels"}
              for name, split in splits.items()}  # fmt: skip
    train, labels = arrays["train"], torch.tensor(splits["train"]["labels"])
    head = torch.nn.Linear(6, 4)
    head.weight.data, head.bias.data = train["weight"], train["bias"]
    ours = collapse.Detectors.fit({**train, "labels": labels}, settings={"vim_dimension": 3})
    for name, (peer, reads_logits) in peers(head).items():
        key = "logits" if reads_logits else "features"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not reads_logits:
                peer.fit_features(train[key], labels)
            predict = peer.predict_logits if reads_logits else peer.predict_features
            # Theirs are outlier scores.
            theirs = [-predict(arrays[split][key]).detach().double().numpy() for split in ("test", "far")]
        found = [ours.score(arrays[split], [name])[name] for split in ("test", "far")]
        expected = collapse.metrics.auroc(*theirs)
        assert collapse.metrics.auroc(*found) == pytest.approx(expected, abs=2e-4), name
        # One increasing function of the other, but for their rounding.
        both, other = np.concatenate(found), np.concatenate(theirs)
        order = np.corrcoef(both.argsort().argsort(), other.argsort().argsort())[0, 1]
        assert order > 0.9999, name


def test_the_example_rejects_what_the_network_never_saw(capsys):
    example = Path(__file__).parents[1] / "examples" / "quickstart.py"
    code = example.read_text().split('"""', 2)[2]
    lines = [line for line in code.splitlines() if line.strip()]
    cells = [line for line in lines if line.startswith("# %%")]
    assert len(cells) == 3 and len(lines) - len(cells) <= 15
    found = runpy.run_path(str(example))
    detectors, network = found["detectors"], found["network"]
    seen, unseen = (detectors.decide(network(rows), "energy") for rows in (found["known"][601::2], found["unknown"]))
    assert seen.n_rejected / len(seen.accepted) < 0.1
    assert unseen.n_rejected / len(unseen.accepted) > 0.4
    assert capsys.readouterr().out.count("Decisions(energy:") == 2
