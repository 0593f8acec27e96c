"""Worked example: features of a PyTorch model, written for `cargo xtask score`.

    python export_features.py --checkpoint run/checkpoint.pt --config run/expected.json \\
        --data DIR --set cifar10 --split test --out test.safetensors
    python export_features.py --torchvision resnet18 --weights model.pt --classes 10 \\
        --data DIR --set svhn --split test --out svhn.safetensors
    cargo xtask score --train train.safetensors --test test.safetensors --ood svhn=svhn.safetensors

The first form reads a network of ddu_resnet.py (which returns its features), the second any
torchvision classifier whose last layer is linear (whose features a hook catches). For a model of
your own, call `feature_file.collect` and `feature_file.write` as `main` does here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import common  # first: it cleans the environment numpy reads
import numpy as np
import torch
from torch import Tensor, nn

import feature_file
import images
from ddu_resnet import NetConfig, ResNet

# Of CIFAR-10, the in-distribution set; other sets are normalised with them too.
# Source: DDU data/ood_detection/cifar10.py.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)


def normalize(pixels: np.ndarray) -> Tensor:
    """u8 [N, H, W, 3] to normalised f32 [N, 3, H, W]."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255.0
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def batches(pixels: np.ndarray, labels: np.ndarray, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(pixels), size):
        rows = slice(start, start + size)
        yield normalize(pixels[rows]), torch.from_numpy(labels[rows])


def load_state(path: Path) -> dict[str, Tensor]:
    """A state_dict, bare or under `state_dict`, of a .pt or .safetensors file."""
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state.get("state_dict", state)


def last_linear(model: nn.Module) -> nn.Linear:
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        sys.exit(f"{type(model).__name__} has no linear layer to take as head")
    return linear[-1]


def main() -> None:
    options = common.parser(__doc__)
    model_kind = options.add_mutually_exclusive_group(required=True)
    model_kind.add_argument("--checkpoint", type=Path, help="state_dict of a ddu_resnet.py network")
    model_kind.add_argument("--torchvision", metavar="NAME", help="torchvision classifier")
    options.add_argument("--config", type=Path, help="JSON with the network's `config` (with --checkpoint)")
    options.add_argument("--weights", type=Path, help="state_dict (with --torchvision)")
    options.add_argument("--classes", type=int, default=10, help="classes (with --torchvision)")
    options.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    options.add_argument("--set", required=True, help="name of the set's folder")
    options.add_argument("--split", default="test", help="beginning of the parquet file's name")
    options.add_argument("--size", type=int, default=32, help="side images are resized to")
    options.add_argument("--limit", type=int, help="only the first images")
    options.add_argument("--batch", type=int, default=256)
    options.add_argument("--out", type=Path, required=True, help="feature file to write")
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)

    if arguments.checkpoint is not None:
        if arguments.config is None:
            options.error("--checkpoint needs --config, the JSON that says which network it is")
        config = NetConfig(**json.loads(arguments.config.read_text())["config"])
        net = ResNet(config).eval()
        net.load_state_dict(load_state(arguments.checkpoint))
        head, l2, name = net.fc, config.l2 == "train_and_inference", config.net

        def forward(x: Tensor) -> tuple[Tensor, Tensor]:
            output = net(x)
            return output.features, output.logits
    else:
        import torchvision

        model = torchvision.models.get_model(arguments.torchvision, num_classes=arguments.classes).eval()
        if arguments.weights is not None:
            model.load_state_dict(load_state(arguments.weights))
        head, l2, name = last_linear(model), False, arguments.torchvision
        forward = feature_file.through_hook(model, head)

    pixels, labels = images.load(arguments.data, arguments.set, arguments.split, arguments.threads, arguments.size)
    keep = slice(arguments.limit)
    features, logits, labels = feature_file.collect(forward, batches(pixels[keep], labels[keep], arguments.batch))
    feature_file.write(
        arguments.out,
        features,
        head=head,
        l2=l2,
        logits=logits,
        labels=labels,
        dataset=arguments.set,
        split=arguments.split,
        net=name,
    )
    common.emit({"out": str(arguments.out), "features": list(features.shape), "l2": l2}, arguments.json)


if __name__ == "__main__":
    main()
