"""Runs two benchmark commands in turn, A B A B, and prints their medians and ratio.

    python alternate.py [--rounds N] [--key median_s] [--json] -- COMMAND A -- COMMAND B

Each command must print a JSON object on a line of its standard output (the last such line
counts). Taking turns lets a slow minute of the machine fall on both sides alike; look at the
spread before believing a ratio close to one.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys

import common


def split_commands(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Options before the first `--`, then the two commands."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "--" and len(parts) < 3:
            parts.append([])
        else:
            parts[-1].append(word)
    if len(parts) != 3 or not parts[1] or not parts[2]:
        if "-h" in words or "--help" in words:
            return words, [], []
        sys.exit("two commands are needed: alternate.py [options] -- COMMAND A -- COMMAND B")
    return parts[0], parts[1], parts[2]


def run(command: list[str]) -> dict:
    """The last JSON object the command prints."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        sys.exit(f"{shlex.join(command)}: {error}")
    if done.returncode != 0:
        sys.exit(f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout}")
    for line in reversed(done.stdout.splitlines()):
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            return record
    sys.exit(f"{shlex.join(command)}: no JSON object on its output; does it take --json?")


def main() -> None:
    before, *commands = split_commands(sys.argv[1:])
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=2, help="times each command runs (default 2)")
    options.add_argument("--key", action="append", help="number to compare (default median_s); repeatable")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = options.parse_args(before)
    keys = arguments.key or ["median_s"]

    records: list[list[dict]] = [[], []]
    for index in range(1, arguments.rounds + 1):
        for side, command in enumerate(commands):
            record = run(command)
            missing = [key for key in keys if not isinstance(record.get(key), (int, float))]
            if missing:
                sys.exit(f"{shlex.join(command)}: its JSON has no number {', '.join(missing)}")
            records[side].append(record)
            shown = ", ".join(f"{key} {record[key]:.6g}" for key in keys)
            print(f"round {index} {'AB'[side]}: {shown}", file=sys.stderr, flush=True)

    for key in keys:
        a, b = ([record[key] for record in side] for side in records)
        median_a, median_b = statistics.median(a), statistics.median(b)
        common.emit(
            {
                "key": key,
                "a": shlex.join(commands[0]),
                "b": shlex.join(commands[1]),
                "a_values": a,
                "b_values": b,
                "a_median": median_a,
                "b_median": median_b,
                "a_over_b": median_a / median_b if median_b else None,
            },
            arguments.json,
        )


if __name__ == "__main__":
    main()
