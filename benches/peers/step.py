"""Times one training step, or feature extraction, of the same network in PyTorch.

The step is `cargo xtask bench step`'s: images already in memory, forward, cross-entropy, backward,
SGD (learning rate 0.1, momentum 0.9, weight decay 5e-4 on every parameter), channels-last. bf16 is
PyTorch's autocast: bf16 operands, f32 master weights, f32 batch-norm statistics and loss.
On a GPU f32 means f32; --tf32 lets tensor cores round the operands of convolutions, PyTorch's default.

With --eval: raw features of --images images in batches, in evaluation mode.
"""

from __future__ import annotations

import contextlib
import statistics
import time

import common  # first: it cleans the environment numpy reads
import torch
import torch.nn.functional as F

from ddu_resnet import BLOCKS, NetConfig, ResNet, forward_flops


def build(arguments) -> ResNet:
    torch.manual_seed(arguments.seed)
    config = NetConfig(
        net=arguments.net,
        width=arguments.width,
        in_channels=arguments.in_channels,
        input_size=arguments.input_size,
        spectral_norm=arguments.spectral_norm,
        l2="off" if arguments.plain else "train_and_inference",
    )
    return ResNet(config).to(arguments.device, memory_format=torch.channels_last)


def precision(arguments):
    """The context the forward runs in."""
    if arguments.precision == "f32":
        return contextlib.nullcontext()
    return torch.autocast(arguments.device, dtype=torch.bfloat16)


def images(arguments, n: int) -> torch.Tensor:
    x = torch.randn(n, arguments.in_channels, arguments.input_size, arguments.input_size)
    return x.to(arguments.device, memory_format=torch.channels_last)


def training_step(arguments, net: ResNet):
    """A closure that performs one step and returns its loss."""
    x = images(arguments, arguments.batch)
    y = torch.randint(net.config.n_classes, (arguments.batch,), device=arguments.device)
    # One fused pass over weights, momentum and gradient: the fastest SGD PyTorch has here.
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    net.train()
    model = torch.compile(net) if arguments.compile else net

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with precision(arguments):
            logits = model(x).logits
        loss = F.cross_entropy(logits.float(), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def feature_pass(arguments, net: ResNet):
    """A closure that extracts the features of all images."""
    x = images(arguments, min(arguments.images, 4096))
    net.eval()
    model = torch.compile(net) if arguments.compile else net

    def extract() -> torch.Tensor:
        out = []
        with torch.inference_mode(), precision(arguments):
            for start in range(0, arguments.images, arguments.batch):
                rows = torch.arange(start, min(start + arguments.batch, arguments.images)) % len(x)
                out.append(model(x[rows]).features.float())
        return torch.cat(out).cpu()

    return extract


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--net", choices=tuple(BLOCKS), default="resnet18")
    options.add_argument("--width", type=int, default=64, help="channels of the first stage")
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--in-channels", type=int, default=3)
    options.add_argument("--input-size", type=int, default=32)
    options.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    options.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options.add_argument("--tf32", action="store_true", help="on a GPU: round operands to TF32")
    options.add_argument("--steps", type=int, default=10, help="timed steps (with --eval: passes)")
    options.add_argument("--warmup", type=int, default=3)
    options.add_argument("--plain", action="store_true", help="head without L2 normalisation")
    options.add_argument("--spectral-norm", type=float, metavar="COEFFICIENT", help="off unless given")
    options.add_argument("--eval", action="store_true", help="time feature extraction instead")
    options.add_argument("--images", type=int, default=10_000, help="with --eval: how many")
    options.add_argument("--compile", action="store_true", help="through torch.compile (needs a C++ compiler)")
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)

    torch.backends.cudnn.allow_tf32 = arguments.tf32
    torch.backends.cudnn.benchmark = arguments.device == "cuda"
    net = build(arguments)
    work = feature_pass(arguments, net) if arguments.eval else training_step(arguments, net)
    count = arguments.images if arguments.eval else arguments.batch
    flops = forward_flops(net, count) * (1 if arguments.eval else 3)
    for _ in range(arguments.warmup):
        work()
    seconds = []
    for _ in range(arguments.steps):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    common.emit(
        {
            "bench": "features" if arguments.eval else "step",
            "engine": f"torch {torch.__version__}" + (" compiled" if arguments.compile else ""),
            "net": arguments.net,
            "width": arguments.width,
            "batch": arguments.batch,
            "precision": "tf32" if arguments.tf32 else arguments.precision,
            "device": arguments.device,
            "threads": arguments.threads,
            "steps": arguments.steps,
            "median_s": median,
            "min_s": min(seconds),
            "max_s": max(seconds),
            "gflops": flops / median / 1e9,
            "images_per_s": count / median,
            "peak_rss_bytes": common.peak_rss_bytes(),
        },
        arguments.json,
    )


if __name__ == "__main__":
    main()
