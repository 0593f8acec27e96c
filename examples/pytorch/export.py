"""Worked example: the features of a PyTorch model, written for `cargo xtask score`.

    pip install torch safetensors scikit-learn
    python examples/pytorch/export.py --out features

Trains a small convolutional network on the digits 0 to 7 that come with scikit-learn (8x8 pixels, nothing is
downloaded; some seconds) and writes one feature file a split: train, validation, test, and two sets it was never
trained for, the digits 8 and 9 and uniform noise. For a model of your own, keep `collect` and `write`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """Returns features and logits; `l2` puts the features on the unit sphere before the head."""

    def __init__(self, n_classes: int, l2: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(64, n_classes)
        self.l2 = l2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.body(x)
        return z, self.head(F.normalize(z) if self.l2 else z)


def collect(net: nn.Module, images: Tensor, batch: int = 256) -> tuple[Tensor, Tensor]:
    """Features [N, D] *before* any normalisation, and logits [N, C], in evaluation mode."""
    net.eval()
    with torch.inference_mode():
        parts = [net(part) for part in images.split(batch)]
    features, logits = (torch.cat(part) for part in zip(*parts))
    return features, logits


def write(path: Path, net: Net, images: Tensor, labels: Tensor | None) -> None:
    """One feature file: features, logits, labels where there are any, the last linear layer, and whether it saw unit vectors."""
    features, logits = collect(net, images)
    tensors = {"features": features, "logits": logits, "head.weight": net.head.weight, "head.bias": net.head.bias}
    if labels is not None:
        tensors["labels"] = labels
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path, metadata={"l2": str(net.l2).lower()})


def train(net: Net, images: Tensor, labels: Tensor, epochs: int) -> None:
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    net.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            _, logits = net(images[rows])
            F.cross_entropy(logits, labels[rows]).backward()
            optimiser.step()
        schedule.step()


def main() -> None:
    options = argparse.ArgumentParser(description="Trains on digits and writes feature files.")
    options.add_argument("--out", type=Path, required=True, help="folder of the feature files")
    options.add_argument("--epochs", type=int, default=40)
    options.add_argument("--l2", action="store_true", help="normalise the features before the head")
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    torch.manual_seed(arguments.seed)

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16.0
    labels = torch.tensor(digits.target)
    known = (labels < 8).nonzero()[:, 0]
    known = known[torch.randperm(len(known))]
    splits = {"train": known[:900], "validation": known[900:1100], "test": known[1100:]}

    net = Net(8, arguments.l2)
    train(net, images[splits["train"]], labels[splits["train"]], arguments.epochs)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, rows in splits.items():
        write(arguments.out / f"{name}.safetensors", net, images[rows], labels[rows])
    write(arguments.out / "digits89.safetensors", net, images[labels >= 8], None)
    write(arguments.out / "noise.safetensors", net, torch.rand(500, 1, 8, 8), None)


if __name__ == "__main__":
    main()
