"""A small network's features, and the command line beside which the module must say the same."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
N_CLASSES, N_FEATURES = 4, 6


class Network:
    """Four classes around the corners of a cube, and the head that tells them apart."""

    def __init__(self, dtype):
        self.rng = np.random.default_rng(7)
        self.means = 3 * np.eye(N_CLASSES, N_FEATURES)
        self.weight = (self.means + 0.1 * self.rng.normal(size=self.means.shape)).astype(dtype)
        self.bias = self.rng.normal(size=N_CLASSES).astype(dtype)
        self.dtype = dtype

    def split(self, n, shift=0.0):
        labels = self.rng.integers(N_CLASSES, size=n)
        noise = self.rng.normal(size=(n, N_FEATURES))
        features = np.abs(self.means[labels] + noise + shift).astype(self.dtype)
        logits = features @ self.weight.T + self.bias
        return {
            "features": features,
            "labels": labels,
            "logits": logits,
            "weight": self.weight,
            "bias": self.bias,
        }


@pytest.fixture(params=[np.float32, np.float64], ids=["f32", "f64"])
def network(request):
    return Network(request.param)


@pytest.fixture
def splits(network):
    return {
        "train": network.split(400),
        "validation": network.split(200),
        "test": network.split(150),
        "far": network.split(120, shift=4.0),
    }


@pytest.fixture(scope="session")
def command_line():
    """The program `collapse`: that of COLLAPSE_PROGRAM, of a build in this checkout, or of the path."""
    named = os.environ.get("COLLAPSE_PROGRAM")
    built = [ROOT / "target" / profile / "collapse" for profile in ("release", "debug")]
    for program in [named, *built, shutil.which("collapse")]:
        if program and Path(program).is_file():
            return str(program)
    pytest.skip("no program `collapse`: cargo build -p collapse-cli, or set COLLAPSE_PROGRAM")
