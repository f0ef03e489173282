"""Free dimensions as samples: what comes out equal at eight mixed sizes is taken as equal."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

SAMPLES = 8
#: With fewer sizes at which the model runs, agreement proves nothing.
ENOUGH = 5

Array = np.ndarray[Any, Any]
#: A dimension, or a value, at every sample; None where the model does not run.
Sizes = tuple[int | None, ...]
Values = tuple[Array | None, ...]


class Symbols:
    """The sizes every symbol takes, and the way back from sizes to symbols.

    Parameters
    ----------
    taken
        Names that derived dimensions may not get.
    """

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._count = 0
        self._sizes: dict[str, Sizes] = {}
        self._names: dict[Sizes, str] = {}

    def at(self, name: str) -> Sizes:
        """Return the sizes of a symbol, the same in every process.

        One, small, odd, and multiples of powers of two up to 64: three odd sizes
        would prove a TensorFlow SAME pad constant that is not.
        """
        if name not in self._sizes:
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            odd = 2 * rng.integers(1, 16, 5) + 1
            mixed = [1, rng.integers(2, 7), odd[0], 32 * odd[1], 64 * odd[2], 16 * odd[3]]
            mixed += [4 * odd[4], 2 * rng.integers(500, 4500) + 1]
            self._sizes[name] = tuple(int(size) for size in rng.permutation(np.array(mixed)))
            self._names.setdefault(self._sizes[name], name)
        return self._sizes[name]

    def fresh(self) -> Sizes:
        """Return the sizes of a dimension about which nothing is known."""
        return self.at(self._unused())

    def read(self, sizes: Sizes) -> int | str | None:
        """Return the size or the symbol behind sizes; None if too few of them run."""
        valid = [size for size in sizes if size is not None]
        if len(valid) < ENOUGH:
            return None
        if min(valid) == max(valid):
            return valid[0]
        if sizes not in self._names:
            self._names[sizes] = self._alike(sizes) or self._unused()
        return self._names[sizes]

    def _alike(self, sizes: Sizes) -> str | None:
        """Return a symbol with the same size wherever both run."""
        for other, name in self._names.items():
            pairs = [p for p in zip(sizes, other, strict=True) if None not in p]
            if len(pairs) >= ENOUGH and all(a == b for a, b in pairs):
                return name
        return None

    def _unused(self) -> str:
        while True:
            self._count += 1
            if (name := f"d{self._count}") not in self._taken:
                return name


def everywhere(value: Array) -> Values:
    """Return a value that is the same at every sample."""
    return (value,) * SAMPLES


def is_uniform(values: Sequence[object]) -> bool:
    """Say whether the samples are one and the same object."""
    return all(value is values[0] for value in values)


def agreed(values: Values) -> Array | None:
    """Return the value that all running samples share, None if they differ."""
    if is_uniform(values):
        return values[0]
    valid = [value for value in values if value is not None]
    if len(valid) < ENOUGH:
        return None
    first = valid[0]
    same = all(v.dtype == first.dtype and v.shape == first.shape for v in valid)
    return first if same and all(np.array_equal(v, first) for v in valid) else None


def decides(a: Values, b: Values) -> bool:
    """Say whether a comparison of `a` and `b` may be taken as known when it comes out the same.

    No sample meets the one size a model compares with, so a constant outcome counts only
    where sizes (at least 1) are compared with numbers below 1, or with themselves.
    """
    if is_uniform(a) and is_uniform(b):
        return True
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    try:
        left = np.stack([np.broadcast_arrays(x, y)[0] for x, y in pairs])
        right = np.stack([np.broadcast_arrays(x, y)[1] for x, y in pairs])
    except ValueError:
        return False
    moves = (left != left[0]).any(0) | (right != right[0]).any(0)
    trivial = (left == right).all(0) | (left < 1).all(0) | (right < 1).all(0)
    return bool((~moves | trivial).all())
