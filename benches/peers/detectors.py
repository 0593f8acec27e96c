"""Times our detectors against pytorch-ood's, detector by detector, in turn; peak memory of either process.

    pip install torch scikit-learn safetensors tqdm && pip install --no-deps pytorch-ood==0.4.0
    python detectors.py --xtask ../../target/debug/xtask [--detector knn]

Both sides fit on N x D float32 features of C classes and score as many rows as `--queries`; the inputs are drawn here and
written as feature files that both read before their clock starts. Every turn is a process of its own, so that peak memory is
that of one detector: ours with its reading, pytorch-ood's with Python and torch, whose share `base` shows. Seconds are of fit
and score together, medians of the rounds. On a busy machine look at the CPU seconds: of pytorch-ood's work alone, of all that
our process did. pytorch-ood computes in float32, ours in float64.
"""

from __future__ import annotations

import common  # first: it cleans the environment numpy reads
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

#: Ours by the name of pytorch-ood's; both compute one formula, Gaussians with and without priors excepted.
DETECTORS = {
    "max_softmax": "MaxSoftmax",
    "softmax_entropy": "Entropy",
    "energy": "EnergyBased",
    "max_logit": "MaxLogit",
    "gen": "GEN",
    "kl_matching": "KLMatching",
    "openmax": "OpenMax",
    "grad_norm": "GradNorm",
    "gmm_features": "GMM",
    "mahalanobis": "Mahalanobis",
    "relative_mahalanobis": "RMD",
    "knn": "KNN",
    "nnguide": "NNGuide",
    "vim": "ViM",
    "dice": "DICE",
    "fdbd": "fDBD",
    "nci": "NCI",
    "react": "ReAct",
    "ash": "ASH",
    "scale": "SCALE",
    "vra": "VRA",
    "lts": "LTS",
    "she": "SHE",
}
ON_LOGITS = ("max_softmax", "softmax_entropy", "energy", "max_logit", "gen", "kl_matching", "openmax")
ON_MAPS = ("react", "ash", "scale", "vra")


def draw(folder: Path, n: int, queries: int, d: int, c: int) -> None:
    """Classes about means of their own, activations above zero, and a head that knows the means."""
    draw = np.random.default_rng(20261126)
    means = 1.5 * np.abs(draw.standard_normal((c, d)))
    spread = 0.3 + draw.random(d)
    weight = (means - means.mean(0)).astype(np.float32)
    weight /= np.linalg.norm(weight, axis=1, keepdims=True)
    bias = np.zeros(c, np.float32)
    for name, rows in (("train", n), ("test", queries)):
        labels = np.arange(rows) % c
        features = np.maximum(means[labels] + spread * draw.standard_normal((rows, d)), 0.0).astype(np.float32)
        tensors = {"features": features, "logits": features @ weight.T + bias, "labels": labels.astype(np.int64)}
        save_file({**tensors, "head.weight": weight, "head.bias": bias}, folder / f"{name}.safetensors")


def theirs(name: str, folder: Path, threads: int) -> dict[str, object]:
    """One detector of pytorch-ood in this process."""
    import pytorch_ood.detector as detectors
    import torch

    common.limit_threads(threads)
    train, test = (
        {key: torch.from_numpy(value) for key, value in load_file(folder / f"{split}.safetensors").items()}
        for split in ("train", "test")
    )
    weight, bias = train["head.weight"], train["head.bias"]
    head = torch.nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    head.requires_grad_(False)
    base = common.peak_rss_bytes()
    make = getattr(detectors, DETECTORS[name])

    def run() -> tuple[Callable[[], object] | None, Callable[[], object]]:
        labels, features, logits = train["labels"], train["features"], train["logits"]
        if name in ON_LOGITS:
            detector = make(None)
            fit = (lambda: detector.fit_logits(logits, labels)) if hasattr(detector, "fit_logits") else None
            return fit, lambda: detector.predict_logits(test["logits"])
        if name == "grad_norm":
            head.requires_grad_(True)
            detector = make(head, param_filter=lambda parameter: parameter == "weight").to("cpu")
            return None, lambda: detector.predict(test["features"])
        if name in ON_MAPS:
            options = {"react": {"percentile": 0.9}, "ash": {"variant": "ash-b", "percentile": 0.9}, "scale": {"percentile": 0.85}}
            # The maps are 1 x 1: what is shaped here are the pooled features.
            layer = torch.nn.Sequential(torch.nn.Flatten(), head)
            detector = make(lambda x: x, layer, **options.get(name, {}))
            maps = [values[:, :, None, None] for values in (features, test["features"])]
            fit = (lambda: detector.fit_feature_maps(maps[0], labels)) if hasattr(detector, "fit_feature_maps") else None
            return fit, lambda: detector.predict_feature_maps(maps[1])
        arguments: tuple = {
            "vim": (None, weight.shape[1] // 2, weight, bias),
            "dice": (None, weight, bias, 0.9),
            "knn": (None,),
            "mahalanobis": (None,),
            "relative_mahalanobis": (None,),
            "gmm_features": (None,),
        }.get(name, (torch.nn.Identity(), head))
        detector = make(*arguments)
        fit = (lambda: detector.fit_features(features, labels)) if hasattr(detector, "fit_features") else None
        return fit, lambda: detector.predict_features(test["features"])

    with torch.set_grad_enabled(name == "grad_norm"):
        fit, score = run()
        busy, start = time.process_time(), time.perf_counter()
        if fit:
            fit()
        between = time.perf_counter()
        scores = score()
        busy, end = time.process_time() - busy, time.perf_counter()
    return {
        "detector": name,
        "fit_s": between - start,
        "score_s": end - between,
        "median_s": end - start,
        "cpu_s": busy,
        "base_bytes": base,
        "peak_rss_bytes": common.peak_rss_bytes(),
        "mean": float(torch.as_tensor(scores).double().mean()),
    }


def turn(command: list[str]) -> dict[str, float]:
    """The figures that a command prints; where it tells no CPU time of its work, that of the whole process."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{text[-2000:]}")
    return {"cpu_s": usage.ru_utime + usage.ru_stime, **json.loads(text.splitlines()[-1])}


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--xtask", default=str(common.REPOSITORY / "target/debug/xtask"), help="our program")
    options.add_argument("--n", type=int, default=50_000, help="rows to fit on")
    options.add_argument("--queries", type=int, default=10_000, help="rows to score")
    options.add_argument("--d", type=int, default=512)
    options.add_argument("--classes", type=int, default=10)
    options.add_argument("--rounds", type=int, default=2, help="turns of either side")
    options.add_argument("--detector", action="append", choices=DETECTORS, help="repeatable; without it all")
    options.add_argument("--theirs", choices=DETECTORS, help="run one detector of pytorch-ood here, on the files of --folder")
    options.add_argument("--folder", type=Path, help="where the files are, or are to be kept")
    arguments = options.parse_args()
    if arguments.theirs:
        common.emit(theirs(arguments.theirs, arguments.folder, arguments.threads), as_json=True)
        return

    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "train.safetensors").exists():
            draw(folder, arguments.n, arguments.queries, arguments.d, arguments.classes)
        files = ["--train", str(folder / "train.safetensors"), "--test", str(folder / "test.safetensors")]
        threads = ["--threads", str(arguments.threads), "--json"]
        if not arguments.json:
            print("| detector | ours | pytorch-ood | ratio | ours, CPU | pytorch-ood, CPU | ratio | ours | pytorch-ood | its base |")
            print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        for name in arguments.detector or DETECTORS:
            sides: tuple[list[dict], list[dict]] = ([], [])
            for _ in range(arguments.rounds):
                sides[0].append(turn([arguments.xtask, "bench", "detectors", *files, "--detector", name, *threads]))
                sides[1].append(
                    turn([sys.executable, __file__, "--theirs", name, "--folder", str(folder), *threads])
                )
            (ours, other), (ours_cpu, other_cpu) = (
                [statistics.median(record[key] for record in side) for side in sides] for key in ("median_s", "cpu_s")
            )
            peaks = [max(record["peak_rss_bytes"] for record in side) / 1e6 for side in sides]
            base = sides[1][0]["base_bytes"] / 1e6
            if arguments.json:
                record = {"detector": name, "ours_s": ours, "theirs_s": other, "ours_cpu_s": ours_cpu, "theirs_cpu_s": other_cpu}
                common.emit({**record, "ours_mb": peaks[0], "theirs_mb": peaks[1], "theirs_base_mb": base}, as_json=True)
                continue
            wall = f"{ours:.3f} s | {other:.3f} s | {other / ours:.2f}"
            busy = f"{ours_cpu:.2f} s | {other_cpu:.2f} s | {other_cpu / ours_cpu:.2f}"
            print(f"| `{name}` | {wall} | {busy} | {peaks[0]:.0f} MB | {peaks[1]:.0f} MB | {base:.0f} MB |", flush=True)


if __name__ == "__main__":
    main()
