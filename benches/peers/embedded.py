"""Reads the images compiled into `collapse-data`, independently of the Rust reader.

The container: magic "CLPSIMG2", u32 length of a JSON header, the header, then for each set zeros up
to a multiple of 64, the pixels (each image filtered by PNG's Paeth predictor, all in one zlib
stream) and one u16 label an image.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np

import common

SAMPLE = common.REPOSITORY / "crates/collapse-data/assets/quick.bin"
MAGIC = b"CLPSIMG2"
ALIGN = 64


def unfilter(filtered: np.ndarray) -> np.ndarray:
    """Undoes the Paeth predictor of grey images [N, H, W], pixel by pixel of all images at once."""
    n, height, width = filtered.shape
    out = np.zeros((n, height + 1, width + 1), dtype=np.int32)
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            left, up, corner = out[:, y, x - 1], out[:, y - 1, x], out[:, y - 1, x - 1]
            guess = left + up - corner
            to_left, to_up, to_corner = abs(guess - left), abs(guess - up), abs(guess - corner)
            nearest = np.where(to_up <= to_corner, up, corner)
            nearest = np.where((to_left <= to_up) & (to_left <= to_corner), left, nearest)
            out[:, y, x] = (filtered[:, y - 1, x - 1] + nearest) % 256
    return out[:, 1:, 1:].astype(np.uint8)


def load(path: Path = SAMPLE) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`train`, `test` and the out-of-distribution sets by name: pixels u8 [N, H, W, 1], labels [N]."""
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise SystemExit(f"{path} does not begin with {MAGIC.decode()}")
    (length,) = struct.unpack_from("<I", content, len(MAGIC))
    at = len(MAGIC) + 4 + length
    header = json.loads(content[len(MAGIC) + 4 : at])
    sets = {}
    for entry, name in zip(header["sets"], ("train", "test", None, None)):
        shape = (entry["count"], entry["shape"]["height"], entry["shape"]["width"])
        at += -at % ALIGN
        filtered = np.frombuffer(zlib.decompress(content[at : at + entry["length"]]), np.uint8)
        at += entry["length"]
        labels = np.frombuffer(content, "<u2", entry["count"], at).astype(np.int64)
        at += 2 * entry["count"]
        sets[name or entry["name"]] = (unfilter(filtered.reshape(shape))[..., None], labels)
    return sets
