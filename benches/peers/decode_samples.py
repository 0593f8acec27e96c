"""Decodes every parquet set under a folder with pyarrow and Pillow and prints what it found.

One JSON object a file: images, class histogram, channel means and standard deviations (of RGB
pixels over 255), and for five samples spread over the file the shape, mode, label and SHA-256 of
the raw pixels: an independent answer for `cargo xtask data verify` and the readers' tests.
--pixels FILE also writes the samples' pixels (safetensors), for comparisons within a grey level:
JPEG decoders may differ by a few levels, PNG decoders may not. --tiny DIR also writes all Tiny ImageNet
images, as they are and at 32x32, as raw bytes (tiny64.bin, tiny32.bin) for the test of the JPEG reader.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import common  # first: it cleans the environment numpy reads
import numpy as np
from safetensors.numpy import save_file

import images

SAMPLES = 5


def sample_indices(n: int) -> list[int]:
    """Five indices spread evenly, first and last among them."""
    return sorted({index * (n - 1) // (SAMPLES - 1) for index in range(SAMPLES)})


def sample(table: images.Table, index: int, size: int) -> tuple[dict[str, object], np.ndarray, np.ndarray]:
    native = images.decode(table.encoded[index])
    resized = images.decode(table.encoded[index], "RGB", size)
    facts = {
        "index": index,
        "label": int(table.labels[index]),
        "shape": list(native.shape),
        "sha256": hashlib.sha256(np.ascontiguousarray(native).tobytes()).hexdigest(),
        f"rgb{size}_sha256": hashlib.sha256(np.ascontiguousarray(resized).tobytes()).hexdigest(),
    }
    return facts, native, resized


def describe(path: Path, size: int, pixels: dict[str, np.ndarray], key: str, threads: int) -> dict[str, object]:
    """Facts of one file; the samples' pixels go into `pixels` under `key.index`."""
    table = images.read_table(path)
    samples = []
    for index in sample_indices(len(table.encoded)):
        facts, native, resized = sample(table, index, size)
        samples.append(facts)
        pixels[f"{key}.{index}"] = np.ascontiguousarray(native)
        pixels[f"{key}.{index}.rgb{size}"] = np.ascontiguousarray(resized)

    # Exact sums in integers; images may differ in size, so they are summed one by one.
    count, total, squares = 0, np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
    for start in range(0, len(table.encoded), 5000):
        part = images.Table(table.encoded[start : start + 5000], table.labels[start : start + 5000])
        for image in images.decode_each(part, threads):
            values = image.reshape(-1, 3).astype(np.int64)
            count += len(values)
            total += values.sum(axis=0)
            squares += (values * values).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(squares / count - mean * mean)
    classes, counts = np.unique(table.labels, return_counts=True)
    return {
        "file": key,
        "images": len(table.encoded),
        "histogram": {str(label): int(n) for label, n in zip(classes, counts)},
        "channel_means": [round(float(value) / 255.0, 6) for value in mean],
        "channel_deviations": [round(float(value) / 255.0, 6) for value in deviation],
        "samples": samples,
    }


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder with parquet files below it")
    options.add_argument("--size", type=int, default=32, help="side of the resized samples")
    options.add_argument("--pixels", type=Path, help="write the samples' pixels here (safetensors)")
    options.add_argument("--tiny", type=Path, help="write Tiny ImageNet's pixels into this folder")
    arguments = options.parse_args()
    if arguments.tiny is not None:
        arguments.tiny.mkdir(parents=True, exist_ok=True)
        for size in (64, 32):
            pixels, _ = images.load(arguments.data, "tiny-imagenet", "valid", arguments.threads, size)
            (arguments.tiny / f"tiny{size}.bin").write_bytes(pixels.tobytes())
    files = sorted(arguments.data.rglob("*.parquet"))
    if not files:
        options.error(f"no parquet file below {arguments.data}")
    pixels: dict[str, np.ndarray] = {}
    for path in files:
        key = path.relative_to(arguments.data).as_posix()
        common.emit(describe(path, arguments.size, pixels, key, arguments.threads), arguments.json)
    if arguments.pixels is not None:
        save_file(pixels, arguments.pixels)


if __name__ == "__main__":
    main()
