"""Times decoding an image set from parquet to pixels: Pillow, torchvision and Hugging Face datasets.

The peer of loading the same file with collapse-data: from the file on disk (its pages cached by
the system after the first pass) to one u8 array [N, H, W, 3] and the labels.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import common  # first: it cleans the environment numpy reads
import numpy as np

import images


def pillow(path: Path, threads: int) -> tuple[np.ndarray, np.ndarray]:
    table = images.read_table(path)
    return images.decode_all(table, threads), table.labels


def torchvision(path: Path, threads: int) -> tuple[np.ndarray, np.ndarray]:
    import torch
    from torchvision.io import ImageReadMode, decode_image

    def decode(encoded: bytes) -> torch.Tensor:
        return decode_image(torch.frombuffer(bytearray(encoded), dtype=torch.uint8), ImageReadMode.RGB)

    table = images.read_table(path)
    if threads == 1:
        pixels = [decode(item) for item in table.encoded]
    else:
        with ThreadPoolExecutor(threads) as pool:
            pixels = list(pool.map(decode, table.encoded))
    return torch.stack(pixels).permute(0, 2, 3, 1).contiguous().numpy(), table.labels


def datasets(path: Path, threads: int) -> tuple[np.ndarray, np.ndarray]:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    import datasets as hf

    # The set's own cache of Arrow files would make a second pass another measurement.
    with tempfile.TemporaryDirectory() as cache:
        table = hf.load_dataset("parquet", data_files=str(path), split="train", cache_dir=cache)
        image = next(name for name in images.IMAGE_COLUMNS if name in table.column_names)
        label = next(name for name in images.LABEL_COLUMNS if name in table.column_names)
        table = table.select_columns([image, label]).cast_column(image, hf.Image(mode="RGB"))
        if threads == 1:
            parts = [table]
        else:
            parts = [table.shard(threads, index, contiguous=True) for index in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            columns = list(pool.map(lambda part: [np.asarray(item) for item in part[image]], parts))
        return np.stack([item for column in columns for item in column]), np.asarray(table[label])


ROUTES = {"pillow": pillow, "torchvision": torchvision, "datasets": datasets}


def main() -> None:
    options = common.parser(__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder that holds the sets")
    options.add_argument("--set", default="cifar10", help="name of the set's folder")
    options.add_argument("--split", default="train", help="beginning of the parquet file's name")
    options.add_argument("--route", choices=(*ROUTES, "all"), default="all")
    options.add_argument("--repeats", type=int, default=3)
    arguments = options.parse_args()
    common.limit_threads(arguments.threads)

    (path,) = images.find(arguments.data, arguments.set, arguments.split)
    for route in ROUTES if arguments.route == "all" else (arguments.route,):
        load = ROUTES[route]
        pixels, labels = load(path, arguments.threads)
        seconds = common.measure(lambda: load(path, arguments.threads), arguments.repeats, warmup=0)
        common.emit(
            {
                "bench": "load",
                "route": route,
                "set": arguments.set,
                "split": arguments.split,
                "images": len(pixels),
                "threads": arguments.threads,
                **seconds,
                "images_per_s": len(pixels) / seconds["median_s"],
                "sha256": hashlib.sha256(pixels.tobytes() + labels.astype("<i8").tobytes()).hexdigest(),
                "peak_rss_bytes": common.peak_rss_bytes(),
            },
            arguments.json,
        )


if __name__ == "__main__":
    main()
