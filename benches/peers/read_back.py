"""Loads weights that this project exported into the PyTorch network and compares its answers.

    python read_back.py --exported model.safetensors --expected FOLDER

FOLDER is what `write_ddu_checkpoint.py` wrote. Prints the largest difference of the logits and,
tensor by tensor, of the weights; names that are missing or unexpected are listed. The exit code is
1 if the logits differ by more than --tolerance.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import common  # first: it cleans the environment numpy reads
import torch
from safetensors.torch import load_file

from ddu_resnet import NetConfig, network

# Counters and logs that no forward pass reads.
UNUSED = ("num_batches_tracked", "weight_sigma")


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--exported", type=Path, required=True, help="safetensors (or .pt) to check")
    options.add_argument("--expected", type=Path, required=True, help="folder of write_ddu_checkpoint.py")
    options.add_argument("--tolerance", type=float, default=1e-5, help="largest difference of a logit")
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)

    facts = json.loads((arguments.expected / "expected.json").read_text())
    expected = load_file(arguments.expected / "expected.safetensors")
    if arguments.exported.suffix == ".safetensors":
        state = load_file(arguments.exported)
    else:
        state = torch.load(arguments.exported, map_location="cpu", weights_only=True)

    # In f64, so that what is compared is the weights and not the rounding of a deep f32 sum.
    net = network(NetConfig(**facts["config"])).double().eval()
    problems = net.load_state_dict(state, strict=False)
    missing = [name for name in problems.missing_keys if not name.endswith(UNUSED)]
    with torch.inference_mode():
        logits = net(expected["images"].double()).logits
        features = net(expected["images"].double()).features

    original = load_file(arguments.expected / "checkpoint.safetensors")
    shared = [name for name in original if name in state and not name.endswith(UNUSED)]
    differences = {name: (original[name].double() - state[name].double()).abs().max().item() for name in shared}
    worst = max(differences, key=differences.get, default=None)
    difference = (logits - expected["logits"]).abs().max().item()
    ok = not missing and difference <= arguments.tolerance
    common.emit(
        {
            "tensors": len(shared),
            "missing": missing,
            "unexpected": list(problems.unexpected_keys),
            "largest_weight_difference": differences.get(worst, 0.0),
            "in": worst,
            "largest_feature_difference": (features.double() - expected["features"]).abs().max().item(),
            "largest_logit_difference": difference,
            "tolerance": arguments.tolerance,
            "ok": ok,
        },
        arguments.json,
    )
    if not ok:
        sys.exit(1)


if __name__ == "__main__":
    main()
