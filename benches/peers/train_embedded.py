"""The experiment of `experiments/precision.toml` in PyTorch, seed by seed.

ResNet18 of width 8 with and without the L2 head on the images compiled into `collapse-data`: five
epochs, batch 32, learning rate 0.25 with milestones 2 and 4, momentum 0.9, weight decay 5e-4, random
crop and flip, a tenth of the training images held out by the seed. Writes one JSON line a run, with
loss and training accuracy of every epoch, test accuracy, and the AUROC of class-wise Gaussians on
what the head sees. Random streams are PyTorch's own, so the runs agree with the Rust ones as
distributions, not seed by seed.

    python train_embedded.py --out FOLDER/pytorch.jsonl --seeds 20 --l2

Runs that the file holds already are kept.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import common  # first: it cleans the environment numpy reads
import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

import density
import embedded
import train_cifar
from ddu_resnet import NetConfig, ResNet

EPOCHS, WIDTH, BATCH, RATE = 5, 8, 32, 0.25
N_CLASSES, SIDE = 8, 28
Labelled = tuple[Tensor, Tensor]


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """Chance that a value of `inside` is above one of `outside`, ties counted half."""
    ranks = rankdata(np.concatenate([inside, outside]))[: len(inside)]
    n, m = len(inside), len(outside)
    return (ranks.sum() - n * (n + 1) / 2) / (n * m)


def head_input(net: ResNet, images: Labelled, normalize: train_cifar.Normalize) -> Labelled:
    """What the head sees, in f64, and the labels."""
    # In f32 whatever the training's precision: autocast would round the features to bf16.
    features, _, labels = train_cifar.extract(net, contextlib.nullcontext, *images, normalize)
    if net.config.l2 != "off":
        features = torch.nn.functional.normalize(features, dim=1, eps=1e-12)
    return features.double(), labels


def detection(net: ResNet, train: Labelled, sets: dict[str, Labelled], normalize: train_cifar.Normalize) -> dict:
    """AUROC of class-wise Gaussians of every set but `test` against `test`."""
    features, labels = head_input(net, train, normalize)
    model = density.fit_torch(features.numpy(), labels.numpy(), N_CLASSES)
    scores = {}
    for name, images in sets.items():
        scores[name] = density.score_torch(model, head_input(net, images, normalize)[0].numpy())
    inside = scores.pop("test")
    return {name: auroc(inside, outside) for name, outside in scores.items()}


def run(sets: dict[str, Labelled], seed: int, l2: bool, precision_name: str) -> dict:
    began = time.perf_counter()
    pixels, labels = sets["train"]
    mean = pixels.double().mean() / 255
    std = (pixels.double() / 255).std(correction=0)
    normalize = train_cifar.normalizing((mean.item(),), (std.item(),))
    precision = train_cifar.autocast_to(precision_name)

    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(pixels), generator=generator)
    chosen = order[len(pixels) // 10 :]
    train = (pixels[chosen], labels[chosen])
    torch.manual_seed(seed)
    config = NetConfig(
        width=WIDTH, in_channels=1, input_size=SIDE, n_classes=N_CLASSES, l2="train_and_inference" if l2 else "off"
    )
    net = ResNet(config).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4, fused=True)
    losses, accuracies = [], []
    for epoch in range(EPOCHS):
        for group in optimizer.param_groups:
            group["lr"] = train_cifar.learning_rate(RATE, epoch, EPOCHS)
        batches = train_cifar.epoch_batches(*train, BATCH, generator, normalize)
        loss, accuracy = train_cifar.train_epoch(net, precision, optimizer, batches)
        losses.append(loss)
        accuracies.append(accuracy)
    held_out = {name: images for name, images in sets.items() if name != "train"}
    return {
        "precision": precision_name,
        "l2": l2,
        "seed": seed,
        "loss": losses,
        "train_accuracy": accuracies,
        "test_accuracy": train_cifar.accuracy(net, precision, *held_out["test"], normalize),
        "auroc": detection(net, train, held_out, normalize),
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--out", type=Path, required=True, help="JSON lines, one a run")
    options.add_argument("--seeds", type=int, default=20, help="seeds from 1")
    options.add_argument("--l2", action="store_true", help="normalise features in training and inference")
    options.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)
    lines = arguments.out.read_text().splitlines() if arguments.out.exists() else []
    question = (arguments.precision, arguments.l2)
    done = {r["seed"] for r in map(json.loads, lines) if (r["precision"], r["l2"]) == question}
    sets = {name: (torch.from_numpy(x), torch.from_numpy(y)) for name, (x, y) in embedded.load().items()}
    for seed in range(1, arguments.seeds + 1):
        if seed in done:
            continue
        record = run(sets, seed, arguments.l2, arguments.precision)
        with arguments.out.open("a") as out:
            out.write(json.dumps(record) + "\n")
        common.emit({key: value for key, value in record.items() if not isinstance(value, (list, dict))}, arguments.json)


if __name__ == "__main__":
    main()
