"""Reads parquet sets of the Hugging Face layout: a column `img` or `image` = {bytes, path}, labels.

Independent of the Rust readers: pyarrow for the table, Pillow for the pixels.
"""

from __future__ import annotations

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet
from PIL import Image

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("label", "fine_label")


class Table(NamedTuple):
    """Encoded images (PNG or JPEG) and labels, in file order."""

    encoded: list[bytes]
    labels: np.ndarray


def read_table(path: Path) -> Table:
    names = pyarrow.parquet.read_schema(path).names
    image = next((name for name in IMAGE_COLUMNS if name in names), None)
    label = next((name for name in LABEL_COLUMNS if name in names), None)
    if image is None or label is None:
        sys.exit(f"{path}: columns {names}; an image column ({', '.join(IMAGE_COLUMNS)}) and labels are needed")
    table = pyarrow.parquet.read_table(path, columns=[image, label], use_threads=False)
    encoded = [item["bytes"] for item in table[image].to_pylist()]
    return Table(encoded, table[label].to_numpy().astype(np.int64))


def decode(encoded: bytes, mode: str | None = None, size: int | None = None) -> np.ndarray:
    """Pixels u8, [H, W] or [H, W, 3]; converted to `mode` and resized to size x size if asked.

    Resizing is Pillow's bilinear filter, which averages when it shrinks (antialias).
    """
    image = Image.open(io.BytesIO(encoded))
    if mode is not None and image.mode != mode:
        image = image.convert(mode)
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def decode_each(table: Table, threads: int, size: int | None = None) -> list[np.ndarray]:
    """All images as RGB, u8 [H, W, 3]. Pillow releases the interpreter's lock while it decodes."""
    if threads == 1:
        return [decode(item, "RGB", size) for item in table.encoded]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda item: decode(item, "RGB", size), table.encoded))


def decode_all(table: Table, threads: int, size: int | None = None) -> np.ndarray:
    """All images as RGB, u8 [N, H, W, 3]; they must agree in size, or be given one."""
    return np.stack(decode_each(table, threads, size))


def find(data: Path, name: str, split: str) -> list[Path]:
    """The parquet files of one split of a set, in order: DIR/name/split*.parquet."""
    folder = data / name
    files = sorted(folder.glob(f"{split}*.parquet")) + sorted(folder.glob(f"*/{split}*.parquet"))
    if not files:
        sys.exit(f"no {split}*.parquet in {folder}: --data must name the folder that holds {name}/")
    return files


def load(data: Path, name: str, split: str, threads: int, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """RGB pixels u8 [N, H, W, 3] and labels [N] of one split."""
    tables = [read_table(path) for path in find(data, name, split)]
    pixels = np.concatenate([decode_all(table, threads, size) for table in tables])
    return pixels, np.concatenate([table.labels for table in tables])
