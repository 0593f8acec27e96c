"""What a training step spends its time on, by the instructions that perf's samples lie on.

    perf record -F 2000 -o FILE xtask bench step --precision f32 --threads 1 --steps 8 --warm-up 1
    python step_parts.py FILE --xtask xtask

Winograd's multiplications and transforms are inlined into the same functions, so they are told apart by their loops: one that
multiplies vectors by numbers that it broadcasts from memory multiplies, one of additions and stores adds up partial sums, what is
left transforms. Needs binutils; the program must not have been built again since the samples were taken.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from bisect import bisect_right
from collections import Counter, defaultdict
from typing import NamedTuple

import common

PRODUCTS = ("vfmadd231ps", "vdpbf16ps")
BROADCASTS = ("vbroadcastss", "vpbroadcastd")
STORES = ("vmovups", "vmovaps")
# By a part of the function's name, the first that fits.
NAMES = {
    "conv": "direct convolutions, packing",
    "4norm": "batch norm",
    "sgd": "SGD",
    "pooling": "pooling",
}


class Instruction(NamedTuple):
    address: int
    name: str
    operands: str


def output(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def samples(recorded: str) -> dict[str, Counter[int]]:
    """Samples by mangled name of the function, and in it by offset."""
    found: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for line in output("perf", "script", "-i", recorded, "-F", "ip,sym,symoff", "--no-demangle"):
        match = re.match(r"\s*[0-9a-f]+ (\S+)\+0x([0-9a-f]+)", line)
        name, offset = (match[1], int(match[2], 16)) if match else ("", 0)
        found[name][offset] += 1
    return found


def blocks(program: str, start: int, size: int) -> list[list[Instruction]]:
    """The instructions of a function between jumps and where jumps lead."""
    disassembled = output(
        "objdump", "-d", "--no-show-raw-insn", f"--start-address={start}", f"--stop-address={start + size}", program
    )
    lines = (re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)", line) for line in disassembled)
    instructions = [Instruction(int(line[1], 16), line[2], line[3]) for line in lines if line]
    jumps = (re.match(r"[0-9a-f]+", one.operands) for one in instructions if one.name.startswith("j"))
    targets = {int(jump[0], 16) for jump in jumps if jump}
    found: list[list[Instruction]] = [[]]
    for one in instructions:
        if one.address in targets:
            found.append([])
        found[-1].append(one)
        if one.name.startswith("j"):
            found.append([])
    return found


def part(block: list[Instruction]) -> str:
    """What a block of Winograd's functions does."""
    broadcasts = sum(
        (one.name in BROADCASTS and "rip" not in one.operands) or "{1to16}" in one.operands for one in block
    )
    products = sum(one.name in PRODUCTS for one in block)
    additions = sum(one.name == "vaddps" for one in block)
    stores = sum(one.name in STORES and one.operands.endswith(")") for one in block)
    if products >= 4 and broadcasts >= 2 and products >= 2 * broadcasts - 2:
        return "Winograd, multiplication"
    if additions >= 12 and stores >= 12 and len(block) < 70:
        return "Winograd, partial sums"
    return "Winograd, transforms"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("recorded", help="what perf record wrote")
    options.add_argument("--xtask", default=str(common.REPOSITORY / "target/debug/xtask"), help="the program")
    arguments = options.parse_args()

    symbols = (line.split() for line in output("nm", "-S", "--defined-only", arguments.xtask))
    extents = {symbol[3]: (int(symbol[0], 16), int(symbol[1], 16)) for symbol in symbols if len(symbol) == 4}
    parts: Counter[str] = Counter()
    for name, offsets in samples(arguments.recorded).items():
        if name not in extents:
            parts["kernel, C library"] += offsets.total()
        elif "winograd" not in name:
            fits = (words for key, words in NAMES.items() if key in name)
            parts[next(fits, "other")] += offsets.total()
        else:
            start, size = extents[name]
            pieces = [block for block in blocks(arguments.xtask, start, size) if block]
            firsts = [block[0].address for block in pieces]
            for offset, count in offsets.items():
                parts[part(pieces[bisect_right(firsts, start + offset) - 1])] += count
    for name, count in parts.most_common():
        print(f"{100 * count / parts.total():5.1f} %  {name}")


if __name__ == "__main__":
    main()
