"""Writes a PyTorch checkpoint with DDU's names, and what the network must answer.

    OUT/checkpoint.pt            state_dict, as `torch.save` writes it
    OUT/checkpoint.safetensors   the same tensors
    OUT/expected.safetensors     images [N, C, H, W] f32 and, by an f64 evaluation of the same
                                 weights, features (raw z) and logits; logits_f32 by an f32 one
    OUT/expected.json            configuration, versions, names and shapes in order

A few training forwards first move the batch-norm statistics and the power-iteration vectors away
from where they start, so that a reader that forgets them cannot pass. `read_back.py` checks the
way back.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import common  # first: it cleans the environment numpy reads
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from ddu_resnet import L2_MODES, NETS, WIDE, NetConfig, network


def trained(config: NetConfig, seed: int, steps: int) -> torch.nn.Module:
    """A network after `steps` SGD steps on noise."""
    torch.manual_seed(seed)
    net = network(config).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for _ in range(steps):
        images = torch.randn(16, config.in_channels, config.input_size, config.input_size)
        optimizer.zero_grad()
        F.cross_entropy(net(images).logits, torch.randint(config.n_classes, (16,))).backward()
        optimizer.step()
    return net.eval()


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--out", type=Path, required=True, help="folder to write to")
    options.add_argument("--net", choices=NETS, default="resnet18")
    options.add_argument("--width", type=int, help="default: the published network's, 64; of wide-resnet28 160")
    options.add_argument("--in-channels", type=int, default=3)
    options.add_argument("--input-size", type=int, default=32)
    options.add_argument("--classes", type=int, default=10)
    options.add_argument("--no-mod", action="store_true", help="ReLU and convolution shortcuts")
    options.add_argument("--spectral-norm", type=float, default=3.0, help="coefficient; 0 for none")
    options.add_argument("--l2", choices=L2_MODES, default="off")
    options.add_argument("--images", type=int, default=8)
    options.add_argument("--steps", type=int, default=3)
    options.add_argument("--seed", type=int, default=1)
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)

    config = NetConfig(
        net=arguments.net,
        width=arguments.width or (160 if arguments.net == WIDE else 64),
        in_channels=arguments.in_channels,
        input_size=arguments.input_size,
        n_classes=arguments.classes,
        modified=not arguments.no_mod,
        spectral_norm=arguments.spectral_norm or None,
        l2=arguments.l2,
        dropout=0.3 if arguments.net == WIDE else 0.0,
    )
    net = trained(config, arguments.seed, arguments.steps)
    images = torch.randn(arguments.images, config.in_channels, config.input_size, config.input_size)
    with torch.inference_mode():
        logits_f32 = net(images).logits
        output = copy.deepcopy(net).double()(images.double())

    state = {name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.save(state, arguments.out / "checkpoint.pt")
    save_file(state, arguments.out / "checkpoint.safetensors")
    expected = {"images": images, "features": output.features, "logits": output.logits, "logits_f32": logits_f32}
    save_file({name: tensor.contiguous() for name, tensor in expected.items()}, arguments.out / "expected.safetensors")
    facts = {
        "config": config.as_dict(),
        "seed": arguments.seed,
        "torch": torch.__version__,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "tensors": [[name, list(tensor.shape)] for name, tensor in state.items()],
    }
    (arguments.out / "expected.json").write_text(json.dumps(facts, indent=1) + "\n")
    common.emit(
        {
            "out": str(arguments.out),
            "parameters": facts["parameters"],
            "tensors": len(state),
            "f32_from_f64": (logits_f32 - output.logits).abs().max().item(),
        },
        arguments.json,
    )


if __name__ == "__main__":
    main()
