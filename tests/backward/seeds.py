"""Seeds in NumPy: what a relevance has to sum to, from the explained tensor alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rfponnx.methods.convert import Converted

Array = np.ndarray[Any, Any]
ACCOUNTS = ("bias_relevance", "leak_relevance")


def explained(made: Converted, out: Mapping[str, Array]) -> Array:
    """Return the explained tensor in float64."""
    one = made.plan.explained[0]
    name = one.tensor if one.own_output else f"{one.output}_explained"
    return out[name].astype(np.float64)


def one_hot(y: Array, axis: int, index: Array | int) -> Array:
    """Return 1 where the position along an axis is the index, else 0."""
    if not y.ndim:
        return np.ones(())
    places = np.moveaxis(np.broadcast_to(np.arange(y.shape[axis]), _last(y, axis)), -1, axis)
    index = np.asarray(index)
    return (places == (np.expand_dims(index, axis) if index.ndim else index)).astype(np.float64)


def _last(y: Array, axis: int) -> tuple[int, ...]:
    return (*np.delete(y.shape, axis), y.shape[axis])


def mask(target: str, y: Array, axis: int, given: Array | None = None) -> Array:
    """Return the mask of a target; ``[T, *E]`` of several."""
    words = []
    for word in target.split(","):
        top = re.fullmatch(r"top(\d+)", word)
        words += [f"rank{i}" for i in range(int(top[1]))] if top else [word]
    found = [_mask(word, y, axis, given) for word in words]
    return found[0] if len(found) == 1 else np.stack(found)


def _mask(word: str, y: Array, axis: int, given: Array | None) -> Array:
    if not y.ndim:
        return np.ones(())
    winner = one_hot(y, axis, np.argmax(y, axis))
    if word == "argmax":
        return winner
    if word == "input":
        assert given is not None
        return one_hot(y, axis, given)
    if word.startswith("rank"):
        order = np.argsort(-y, axis=axis, kind="stable")
        return one_hot(y, axis, np.take(order, int(word[4:]), axis))
    size = y.shape[axis]
    if pair := re.fullmatch(r"(\d+)-(\d+)", word):
        return one_hot(y, axis, int(pair[1])) - one_hot(y, axis, int(pair[2]))
    index = int(word.removesuffix("@predicted")) % size
    own = one_hot(y, axis, index)
    return own * winner if word.endswith("@predicted") else own


def seed(made: Converted, out: Mapping[str, Array], feeds: Mapping[str, Array]) -> Array:
    """Return the relevance that a walk starts from, as its options say."""
    options, one = made.plan.options, made.plan.explained[0]
    y = explained(made, out)
    if options.target == "seed":
        given = feeds["seed"].astype(np.float64)
        return given if options.way.rules else given * y
    found = mask(options.target, y, one.class_axis, feeds.get("target"))
    how = made.plan.convention.seed if options.way.rules else "logit"
    if how == "one":
        return found
    if how == "probability":
        return found * probability(y, one.class_axis)
    return found * y


def probability(y: Array, axis: int) -> Array:
    """Return the softmax; of a single class the sigmoid."""
    if not y.ndim or y.shape[axis] == 1:
        return np.asarray(1 / (1 + np.exp(-y)))
    power = np.exp(y - y.max(axis, keepdims=True))
    return np.asarray(power / power.sum(axis, keepdims=True))


def imbalance(
    made: Converted, out: Mapping[str, Array], feeds: Mapping[str, Array], *, whole: bool = False
) -> float:
    """Return the largest ``|R + bias + leak - seed|`` of a sample, relative to what is summed.

    Parameters
    ----------
    whole
        Whether all samples are added first.
    """
    taps = {f"{t}_relevance" for t in made.plan.options.taps}
    maps = [
        out[n].astype(np.float64)
        for n in out
        if n.endswith("_relevance") and n not in {*ACCOUNTS, *taps}
    ]
    accounts = [out[n].astype(np.float64) for n in ACCOUNTS]
    start = seed(made, out, feeds)
    assert all(np.isfinite(a).all() for a in (*maps, *accounts)), "NaN or infinity"
    lead = start.shape[: start.ndim - explained(made, out).ndim]
    rows = accounts[0].shape[-1]
    whole = whole or rows == 1

    def summed(a: Array) -> Array:
        kept = (*lead, *(() if whole else (rows,)))
        count = a.size // max(int(np.prod(kept)), 1)
        return np.asarray(a.reshape(*kept, count).sum(-1))

    sizes = sum(summed(np.abs(a)) for a in (*maps, *accounts))
    gap = np.abs(sum(summed(a) for a in (*maps, *accounts)) - summed(start))
    scale = np.maximum(np.max(np.maximum(sizes, summed(np.abs(start))), initial=0), 1e-30)
    return float(np.max(gap / scale, initial=0))
