"""Compares ddu_resnet.py with the reference numbers of DDU's own code, in f64.

Every variant of model_*.json is filled from its seeds, then: eval forward, one training forward
and backward, eval forward again, and three SGD steps at two rates. One line a quantity; the exit
code is 1 if any is outside its tolerance.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import common  # first: it cleans the environment numpy reads
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file
from torch import Tensor

from ddu_resnet import Conv, NetConfig, ResNet

FOLDERS = (
    common.REPOSITORY / "crates/collapse-verify/fixtures/public",
    common.REPOSITORY.parent / "shared/fixtures/public",
)
# Numbers are stored with 12 significant digits, features as f32.
TOLERANCES = {"features": 1e-6, "gradient first 8": 1e-8, "sgd loss": 1e-8, "sgd norms": 1e-7, "sgd logits": 1e-6}


def splitmix64(seed: int, n: int) -> np.ndarray:
    """The first n raw 24-bit values of the stream of `seed`."""
    with np.errstate(over="ignore"):
        state = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))) >> np.uint64(40)


def fill(seed: int, shape: list[int], scale: float, offset: float = 0.0, absolute: bool = False) -> Tensor:
    """Uniform values `offset + scale * s`, s in [-1, 1), rounded once to f32 and kept as f64."""
    s = splitmix64(seed, int(np.prod(shape))).astype(np.float64) * 2.0**-23 - 1.0
    values = offset + scale * (np.abs(s) if absolute else s)
    return torch.from_numpy(values.astype(np.float32).astype(np.float64)).reshape(shape)


def labels(seed: int, n: int, n_classes: int) -> Tensor:
    return torch.from_numpy(((splitmix64(seed, n) * np.uint64(n_classes)) >> np.uint64(24)).astype(np.int64))


def network(variant: dict, l2: bool) -> ResNet:
    """The variant's network in f64 with its prescribed weights."""
    config = NetConfig(
        net=variant["arch"],
        modified=variant["mod"],
        spectral_norm=variant["coeff"] if variant["sn"] else None,
        l2="train_and_inference" if l2 else "off",
    )
    net = ResNet(config).double()
    state = net.state_dict()
    names = [name for name, *_ in variant["tensors"]]
    if names != list(state):
        sys.exit(f"{variant['id']}: state_dict names or their order differ from the fixture's")
    for name, kind, shape, seed, scale, offset, absolute in variant["tensors"]:
        if kind != "skip":
            state[name] = fill(seed, shape, scale, offset, absolute)
    net.load_state_dict(state)
    return net


def deviation(ours: object, theirs: object, scale: float | None = None) -> float:
    """Largest absolute error over the largest absolute reference value (or `scale`)."""
    ours = torch.as_tensor(np.asarray(ours, dtype=np.float64))
    theirs = torch.as_tensor(np.asarray(theirs, dtype=np.float64))
    return float((ours - theirs).abs().max() / (theirs.abs().max() if scale is None else scale))


def spectral_rows(net: ResNet) -> list[list[float]]:
    """sigma, norm of the used weight and of the master weight, convolution by convolution."""
    convs = [module for module in net.modules() if isinstance(module, Conv) and module.coefficient is not None]
    with torch.no_grad():
        used = [conv.used_weight() for conv in convs]
    return [
        [conv.weight_sigma.item(), weight.norm().item(), conv.weight_orig.detach().norm().item()]
        for conv, weight in zip(convs, used)
    ]


def check_spectral(net: ResNet, rows: list) -> Iterator[tuple[str, float]]:
    if rows:
        net.eval()
        yield "sigma, W norms", deviation(spectral_rows(net), [row[1:4] for row in rows])


def check_run(meta: dict, variant: dict, arrays: dict, l2: bool) -> Iterator[tuple[str, float]]:
    """Yields (quantity, error) of the eval-train-eval sequence and of the SGD steps."""
    reference = variant["l2" if l2 else "plain"]
    x = fill(meta["input"]["seed"], meta["input"]["shape"], meta["input"]["scale"])
    y = torch.tensor(meta["label_values"])
    net = network(variant, l2)

    net.eval()
    with torch.no_grad():
        output = net(x)
    yield "eval logits", deviation(output.logits, reference["eval0_logits"])
    yield "features", deviation(output.features, arrays[f"{variant['id']}.eval0.features"])
    yield from check_spectral(net, variant["sn_eval0"])

    net.train()
    output = net(x)
    loss = F.cross_entropy(output.logits, y)
    loss.backward()
    yield "train logits", deviation(output.logits.detach(), reference["train1_logits"])
    yield "features", deviation(output.features.detach(), arrays[f"{variant['id']}.train1.features"])
    yield "train loss", deviation(loss.item(), reference["train1_loss"])
    parameters = dict(net.named_parameters())
    if list(parameters) != [row[0] for row in reference["grads"]]:
        sys.exit(f"{variant['id']}: named_parameters differ from the fixture's")
    for name, _total, l2_norm, first, _ in reference["grads"]:
        gradient = parameters[name].grad
        yield "gradient l2", deviation(gradient.norm(), l2_norm)
        rms = l2_norm / gradient.numel() ** 0.5
        # The stored twelve digits are of each value; rms bounds the scale of the small ones.
        yield "gradient first 8", deviation(gradient.flatten()[: len(first)], first, max(rms, max(map(abs, first))))
    for name, mean_sum, mean_l2, mean_first, variance_sum, variance_l2, variance_first in variant["bn_after_train1"]:
        bn = net.get_submodule(name)
        mean, variance = bn.running_mean, bn.running_var
        yield "batch-norm state", deviation([mean.norm(), *mean[:4]], [mean_l2, *mean_first])
        yield "batch-norm state", deviation(mean.sum(), mean_sum, mean_l2 * mean.numel() ** 0.5)
        ours = [variance.sum(), variance.norm(), *variance[:4]]
        yield "batch-norm state", deviation(ours, [variance_sum, variance_l2, *variance_first])
    yield from check_spectral(net, variant["sn_train1"])

    net.eval()
    with torch.no_grad():
        yield "eval logits", deviation(net(x).logits, reference["eval1_logits"])
    for rate in meta["sgd"]["lr"]:
        yield from check_sgd(meta, variant, l2, rate, x, reference[f"sgd_lr{rate:g}"])


def check_sgd(
    meta: dict, variant: dict, l2: bool, rate: float, x_eval: Tensor, reference: dict
) -> Iterator[tuple[str, float]]:
    sgd = meta["sgd"]
    net = network(variant, l2).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=rate, momentum=sgd["momentum"], weight_decay=sgd["weight_decay"])
    shape = [sgd["batch"], *meta["input"]["shape"][1:]]
    for step, (seed_x, seed_y) in enumerate(zip(sgd["seeds_x"], sgd["seeds_y"]), start=1):
        x, y = fill(seed_x, shape, sgd["scale"]), labels(seed_y, sgd["batch"], net.config.n_classes)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x).logits, y)
        loss.backward()
        optimizer.step()
        yield "sgd loss", deviation(loss.item(), reference["loss"][step - 1])
        norms = [parameter.detach().norm() for parameter in net.parameters()]
        yield "sgd norms", deviation(norms, reference[f"param_l2_after_step{step}"])
    with torch.no_grad():
        yield "sgd logits", deviation(net.eval()(x_eval).logits, reference["eval_logits_after_step3"])


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("folder", nargs="?", type=Path, help="folder with model_*.json")
    options.add_argument("--net", choices=("resnet18", "resnet50"), help="only this network")
    options.add_argument("--variant", help="only variants whose name contains this, e.g. sn1_mod0")
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)
    folder = arguments.folder or next((path for path in FOLDERS if path.is_dir()), None)
    files = sorted(folder.glob(f"model_{arguments.net or '*'}.json")) if folder else []
    if not files:
        sys.exit(f"no model_*.json in {folder or ' or '.join(map(str, FOLDERS))}: give the folder of the fixtures")

    failures = 0
    for path in files:
        document = json.loads(path.read_text())
        arrays = load_file(path.with_suffix(".safetensors"))
        for variant in document["variants"]:
            if arguments.variant is not None and arguments.variant not in variant["id"]:
                continue
            for l2 in (False, True):
                errors: dict[str, float] = {}
                for quantity, error in check_run(document["meta"], variant, arrays, l2):
                    errors[quantity] = max(errors.get(quantity, 0.0), error)
                for quantity, error in errors.items():
                    tolerance = TOLERANCES.get(quantity, 1e-9)
                    ok = error <= tolerance
                    failures += not ok
                    record = {
                        "variant": variant["id"],
                        "head": "l2" if l2 else "plain",
                        "quantity": quantity,
                        "error": error,
                        "tolerance": tolerance,
                        "ok": ok,
                    }
                    if arguments.json:
                        common.emit(record, True)
                    else:
                        print(
                            f"{variant['id']:<26} {record['head']:<6} {quantity:<18} {error:9.2e}"
                            f"  (<= {tolerance:.0e})  {'ok' if ok else 'FAIL'}",
                            flush=True,
                        )
    if failures:
        sys.exit(f"{failures} quantities outside their tolerance")


if __name__ == "__main__":
    main()
