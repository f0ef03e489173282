"""Which entries of an input belong to which source of a converted file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np

from rfponnx.plan.spec import parse_slices
from rfponnx.runtime.ports import Array
from rfponnx.runtime.results import Results


def owned(
    results: Results, tensor: str, shape: tuple[int, ...], feeds: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    """Yield the sources that own a part of a tensor, each with a mask that broadcasts to it.

    Nothing where a single source owns all of it.

    Parameters
    ----------
    feeds
        All inputs, run-time masks among them.
    """
    d = results.described
    found: list[tuple[str, Array]] = []
    for name, spec in zip(d.sources, d.specs, strict=True):
        mask: Array = np.zeros(shape, np.float32)
        for inside in _pieces(spec.partition("=")[2], tensor):
            if inside.startswith("["):
                cuts = (slice(*cut) for cut in parse_slices(inside[1:-1]))
                mask[tuple(cuts)] = 1
            elif inside:
                mask = np.maximum(mask, feeds.get(f"{name}_mask", np.ones(1)))
            else:
                mask[...] = 1
        if mask.any():
            found.append((name, mask))
    if d.masks == tensor and f"{tensor}_masks" in feeds:
        found = [(f"mask {i}", m) for i, m in enumerate(feeds[f"{tensor}_masks"])]
    if len(found) > 1 or any(not m.all() for _, m in found):
        yield from found


def _pieces(text: str, tensor: str) -> list[str]:
    """Return what stands behind each mention of a tensor: slices, ``@mask`` or nothing."""
    name = re.escape(tensor)
    pattern = rf"(?:^|\+)\s*(?:'{name}'|\"{name}\"|{name})(\[[^\]]*\]|@mask)?(?=\s*(?:\+|$))"
    return [match[1] or "" for match in re.finditer(pattern, text)]
