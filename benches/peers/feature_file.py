"""Writes the feature file that `cargo xtask score` reads: one safetensors file a model and split.

| tensor        | shape  |                                                                    |
|---------------|--------|--------------------------------------------------------------------|
| `features`    | [N, D] | input of the last linear layer *before* any normalisation          |
| `logits`      | [N, C] | may be absent where the head is given                              |
| `labels`      | [N]    | integers; may be absent for an out-of-distribution set             |
| `head.weight` | [C, D] | the last linear layer                                              |
| `head.bias`   | [C]    |                                                                    |

Metadata (strings): `l2` "true" or "false", whether the head saw L2-normalised features; whatever
else is worth keeping (data set, split, net, epoch, seed).

The module needs torch and safetensors alone: copy it into your own project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


def write(
    path: Path,
    features: Tensor,
    *,
    head: nn.Linear,
    l2: bool,
    logits: Tensor | None = None,
    labels: Tensor | None = None,
    **metadata: object,
) -> None:
    """Writes one feature file; keyword arguments beyond the named become metadata."""
    n, d = features.shape
    if head.in_features != d:
        raise ValueError(f"features have {d} dimensions, the head takes {head.in_features}")
    for name, tensor in (("logits", logits), ("labels", labels)):
        if tensor is not None and len(tensor) != n:
            raise ValueError(f"{len(tensor)} {name} for {n} features")
    tensors = {"features": features, "head.weight": head.weight, "logits": logits, "labels": labels}
    tensors["head.bias"] = torch.zeros(head.out_features) if head.bias is None else head.bias
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}
    text = {"l2": str(l2).lower(), **{name: str(value) for name, value in metadata.items()}}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(kept, path, metadata=text)


def collect(
    forward: Callable[[Tensor], tuple[Tensor, Tensor]], batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs `forward: images -> (features, logits)` over batches of (images, labels)."""
    parts = []
    with torch.inference_mode():
        for images, labels in batches:
            features, logits = forward(images)
            parts.append((features.float(), logits.float(), labels))
    features, logits, labels = (torch.cat(part) for part in zip(*parts))
    return features, logits, labels


def through_hook(model: nn.Module, head: nn.Linear) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """`forward` of a model that returns logits only: the head's input is caught on its way in.

    If the model normalises before its head, what is caught is the normalised vector; hook the
    layer before instead, and write `l2=True`.
    """

    def forward(images: Tensor) -> tuple[Tensor, Tensor]:
        caught: list[Tensor] = []
        hook = head.register_forward_pre_hook(lambda _module, inputs: caught.append(inputs[0]))
        try:
            logits = model(images)
        finally:
            hook.remove()
        return caught[-1], logits

    return forward
