"""Prints scikit-learn's Ledoit-Wolf and OAS weights and covariances for data that the tests of `collapse-density` make too.

The numbers in crates/collapse-density/tests/shrinkage.rs come from here. Rows are values of splitmix64 in [-1, 1), mixed with
their neighbours so that the covariance is no multiple of the identity.
"""

from __future__ import annotations

import common  # first: it cleans the environment numpy reads
import numpy as np
from sklearn.covariance import ledoit_wolf, oas

MASK = 2**64 - 1


def fill(seed: int, n: int, d: int) -> np.ndarray:
    values, state = [], seed
    for _ in range(n * d):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        values.append(2.0 * ((z ^ z >> 31) >> 40) * 2.0**-24 - 1.0)
    x = np.array(values).reshape(n, d)
    x[:, 1:] = x[:, 1:] + 0.5 * x[:, :-1]
    return x


def main() -> None:
    arguments = common.parser(__doc__).parse_args()
    for seed, n, d in ((1, 12, 7), (2, 40, 7), (3, 10, 30), (4, 200, 30), (5, 2, 5)):
        x = fill(seed, n, d)
        record: dict[str, object] = {"seed": seed, "n": n, "d": d}
        for name, rule in (("ledoit_wolf", ledoit_wolf), ("oas", oas)):
            covariance, weight = rule(x)
            record |= {f"{name}_weight": float(weight), f"{name}_01": float(covariance[0, 1]), f"{name}_trace": float(np.trace(covariance))}
        common.emit(record, arguments.json)


if __name__ == "__main__":
    main()
