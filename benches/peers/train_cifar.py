"""The reference training on CIFAR-10 in PyTorch, with the hyper-parameters of `cargo xtask train`.

SGD with learning rate 0.1, momentum 0.9, weight decay 5e-4 on every parameter, batch 128, the last
partial batch kept; random crop with zero padding 4 and random flip; learning rate times 0.1 at 3/7
and 5/7 of the schedule; a tenth of the training set held out by the seed. Prints one JSON object an
epoch. Source: DDU train.py and data/ood_detection/cifar10.py; the short schedules are our choice.

    python train_cifar.py --data DIR --epochs 1 --epochs-schedule 7 --l2 --precision bf16

--features DIR writes feature files of the training split, the test set and whatever sets --ood
names, for `cargo xtask score`. The random streams are PyTorch's own, so curves agree with the Rust
ones as two seeds agree, not to the digit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import common  # first: it cleans the environment numpy reads
import torch
import torch.nn.functional as F
from torch import Tensor

import feature_file
import images
from ddu_resnet import BLOCKS, NetConfig, ResNet
from export_features import MEAN, STD

PADDING = 4
EVAL_BATCH = 500


def milestones(epochs: int) -> tuple[int, int]:
    """3/7 and 5/7 of the schedule: 150, 250 of 350; 26, 43 of 60; 43, 71 of 100; 3, 5 of 7."""
    return round(epochs * 3 / 7), round(epochs * 5 / 7)


def learning_rate(base: float, epoch: int, epochs: int) -> float:
    """The rate during `epoch`, counted from 0."""
    return base * 0.1 ** sum(epoch >= milestone for milestone in milestones(epochs))


Normalize = Callable[[Tensor], Tensor]


def normalizing(mean: tuple[float, ...], std: tuple[float, ...]) -> Normalize:
    """u8 [N, H, W, C] to f32 [N, C, H, W], channels last."""
    mean_t, std_t = torch.tensor(mean), torch.tensor(std)
    return lambda pixels: ((pixels.float() / 255.0 - mean_t) / std_t).permute(0, 3, 1, 2)


def autocast_to(precision: str) -> Callable[[], contextlib.AbstractContextManager]:
    """The context of a forward pass in `f32` or `bf16`."""
    if precision == "f32":
        return contextlib.nullcontext
    return lambda: torch.autocast("cpu", dtype=torch.bfloat16)


def random_crop_and_flip(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """u8 [N, H, W, C]: a crop of the zero-padded image, mirrored half of the time."""
    n, height, width, _ = pixels.shape
    padded = F.pad(pixels, (0, 0, PADDING, PADDING, PADDING, PADDING))
    top, left = torch.randint(2 * PADDING + 1, (2, n, 1), generator=generator)
    flip = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.arange(width).expand(n, width)
    columns = left + torch.where(flip, width - 1 - columns, columns)
    rows = top + torch.arange(height)
    return padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


def epoch_batches(
    pixels: Tensor, labels: Tensor, batch: int, generator: torch.Generator, normalize: Normalize
) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.randperm(len(pixels), generator=generator).split(batch):
        # Zero padding means black pixels, which normalise to something else than zero; DDU pads
        # the image before it normalises, and so does this.
        yield normalize(random_crop_and_flip(pixels[rows], generator)), labels[rows]


def plain_batches(pixels: Tensor, labels: Tensor, normalize: Normalize) -> Iterator[tuple[Tensor, Tensor]]:
    for rows in torch.arange(len(pixels)).split(EVAL_BATCH):
        yield normalize(pixels[rows]), labels[rows]


def extract(net: ResNet, precision, pixels: Tensor, labels: Tensor, normalize: Normalize) -> tuple[Tensor, Tensor, Tensor]:
    """Raw features, logits and labels in evaluation mode, without augmentation."""
    net.eval()

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        with precision():
            output = net(x)
        return output.features, output.logits

    return feature_file.collect(forward, plain_batches(pixels, labels, normalize))


def accuracy(net: ResNet, precision, pixels: Tensor, labels: Tensor, normalize: Normalize) -> float:
    _, logits, labels = extract(net, precision, pixels, labels, normalize)
    return (logits.argmax(dim=1) == labels).double().mean().item()


def train_epoch(net: ResNet, precision, optimizer: torch.optim.SGD, batches) -> tuple[float, float]:
    """Mean loss and accuracy over the epoch's images, as the weights moved."""
    net.train()
    total, correct, seen = 0.0, 0, 0
    for x, y in batches:
        optimizer.zero_grad(set_to_none=True)
        with precision():
            logits = net(x).logits
        loss = F.cross_entropy(logits.float(), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
        correct += (logits.argmax(dim=1) == y).sum().item()
        seen += len(y)
    return total / seen, correct / seen


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder that holds cifar10/*.parquet")
    options.add_argument("--net", choices=tuple(BLOCKS), default="resnet18")
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--l2", action="store_true", help="normalise features in training and inference")
    options.add_argument("--spectral-norm", type=float, default=3.0, help="coefficient; 0 for none")
    options.add_argument("--no-mod", action="store_true", help="ReLU and convolution shortcuts")
    options.add_argument("--epochs", type=int, default=7, help="epochs to run")
    options.add_argument("--epochs-schedule", type=int, help="epochs the schedule is made for (default: --epochs)")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--lr", type=float, default=0.1)
    options.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--limit", type=int, help="only the first training and test images, to try the script")
    options.add_argument("--features", type=Path, help="write feature files to this folder at the end")
    options.add_argument("--ood", nargs="*", default=[], metavar="SET:SPLIT", help="with --features, e.g. svhn:test")
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)
    schedule = arguments.epochs_schedule or arguments.epochs

    precision = autocast_to(arguments.precision)
    normalize = normalizing(MEAN, STD)

    def load(name: str, split: str) -> tuple[Tensor, Tensor]:
        pixels, labels = images.load(arguments.data, name, split, arguments.threads, size=32)
        return torch.from_numpy(pixels[: arguments.limit]), torch.from_numpy(labels[: arguments.limit])

    pixels, labels = load("cifar10", "train")
    test = load("cifar10", "test")
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(arguments.seed))
    validation, chosen = order[: len(order) // 10], order[len(order) // 10 :]
    train, validation = (pixels[chosen], labels[chosen]), (pixels[validation], labels[validation])

    torch.manual_seed(arguments.seed)
    config = NetConfig(
        net=arguments.net,
        width=arguments.width,
        modified=not arguments.no_mod,
        spectral_norm=arguments.spectral_norm or None,
        l2="train_and_inference" if arguments.l2 else "off",
    )
    net = ResNet(config).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=arguments.lr, momentum=0.9, weight_decay=5e-4, fused=True)
    generator = torch.Generator().manual_seed(arguments.seed)
    for epoch in range(arguments.epochs):
        rate = learning_rate(arguments.lr, epoch, schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate
        start = time.perf_counter()
        batches = epoch_batches(*train, arguments.batch, generator, normalize)
        loss, train_accuracy = train_epoch(net, precision, optimizer, batches)
        seconds = time.perf_counter() - start
        common.emit(
            {
                "epoch": epoch + 1,
                "lr": rate,
                "loss": loss,
                "train_accuracy": train_accuracy,
                "validation_accuracy": accuracy(net, precision, *validation, normalize),
                "test_accuracy": accuracy(net, precision, *test, normalize),
                "seconds": seconds,
                "images_per_s": len(train[0]) / seconds,
                "net": arguments.net,
                "width": arguments.width,
                "l2": arguments.l2,
                "precision": arguments.precision,
                "threads": arguments.threads,
                "seed": arguments.seed,
                "peak_rss_bytes": common.peak_rss_bytes(),
            },
            arguments.json,
        )

    if arguments.features is None:
        return
    sets = {"train": ("cifar10", "train", train), "test": ("cifar10", "test", test)}
    for name, split in (item.split(":", 1) for item in arguments.ood):
        sets[name] = (name, split, load(name, split))
    for file, (name, split, (set_pixels, set_labels)) in sets.items():
        # In f32 whatever the training's precision: autocast would round the features to bf16.
        features, logits, kept_labels = extract(net, contextlib.nullcontext, set_pixels, set_labels, normalize)
        feature_file.write(
            arguments.features / f"{file}.safetensors",
            features,
            head=net.fc,
            l2=arguments.l2,
            logits=logits,
            labels=kept_labels,
            dataset=name,
            split=split,
            net=arguments.net,
            epoch=arguments.epochs,
            seed=arguments.seed,
        )


if __name__ == "__main__":
    main()
