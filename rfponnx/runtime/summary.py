"""Numbers a person asks for: the predicted class, and what each source contributed to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rfponnx.runtime.ports import Array

#: How far a sum of probabilities may be from 1: some models store them in 8 bits.
QUANTISED = 0.02


@dataclass(frozen=True, slots=True)
class View:
    """One relevance with its axes in a fixed order: rows R, samples N, classes C, positions P.

    Attributes
    ----------
    values
        The explained tensor [N, C, P].
    winner
        The predicted class [N, P]: the first maximum.
    streams
        What each row contributes to the predicted class [R, N, P].
    positions
        The sizes of the axes that were flattened into P.
    """

    values: Array
    winner: Array
    streams: Array
    positions: tuple[int, ...]

    @property
    def shares(self) -> Array:
        """``|r^s| / sum over rows of |r|`` [R, N, P]; 0 where all of them are 0."""
        return shares(self.streams)

    @property
    def overall(self) -> tuple[float, ...]:
        """The shares of the rows, averaged over samples and positions."""
        return tuple(self.shares.mean(axis=(1, 2)).tolist())

    @property
    def maps(self) -> Array:
        """The streams with their positions unfolded [R, N, *positions]."""
        return self.streams.reshape(*self.streams.shape[:2], *self.positions)


def view(values: Array, relevance: Array, class_axis: int, predicted: bool) -> View:
    """Bring an explained tensor [*E] and its relevance [R, *E] into the fixed order.

    Axis 0 of E counts the samples, unless the classes lie there: then there is one sample.

    Parameters
    ----------
    predicted
        Whether the relevance has no class axis, because it holds the predicted class only.
    """
    e = _samples_first(values, class_axis)
    n, _, p = e.shape
    winner = np.argmax(e, axis=1)
    if predicted:
        streams = relevance.reshape(len(relevance), n, p)
    else:
        ordered = np.stack([_samples_first(r, class_axis) for r in relevance])
        streams = np.take_along_axis(ordered, winner[np.newaxis, :, np.newaxis], axis=2)[:, :, 0]
    kept = [d for axis, d in enumerate(values.shape) if axis not in (0, class_axis)]
    return View(e, winner, streams, tuple(kept))


def _samples_first(e: Array, class_axis: int) -> Array:
    """Return [N, *..., C, ...] as [N, C, P]; with the classes in front there is one sample."""
    if e.ndim == 0:
        return e.reshape(1, 1, 1)
    full = e[np.newaxis] if class_axis == 0 else e
    moved = np.moveaxis(full, class_axis or 1, 1)
    return np.asarray(moved.reshape(moved.shape[0], moved.shape[1], -1))


def shares(streams: Array) -> Array:
    """Return ``|r| / sum over axis 0 of |r|``, 0 where the sum is 0."""
    size = np.abs(streams.astype(np.float64))
    total = size.sum(axis=0, keepdims=True)
    return np.asarray(np.divide(size, total, out=np.zeros_like(size), where=total > 0))


@dataclass(frozen=True, slots=True)
class Part:
    """One class in one sample, and what each row contributed where it was predicted.

    Attributes
    ----------
    positions
        In how many positions the class was predicted (1 in a classifier).
    fraction
        The same as a fraction of all positions.
    value
        The explained tensor there, on average.
    probability
        What the model's own output says there, where that is a probability.
    contributions
        By row: the mean contribution.  They sum to `value`.
    shares
        By row: the mean of ``|r^s| / sum |r|``.
    """

    sample: int
    index: int
    positions: int
    fraction: float
    value: float
    probability: float | None
    contributions: tuple[float, ...]
    shares: tuple[float, ...]


def parts(v: View, probabilities: Array | None) -> tuple[Part, ...]:
    """Return a part for each sample and each class that is predicted in it, largest first.

    Parameters
    ----------
    probabilities
        [N, C, P]
    """
    share = v.shares
    found: list[Part] = []
    for n in range(v.winner.shape[0]):
        classes, counts = np.unique(v.winner[n], return_counts=True)
        for i in np.argsort(-counts, kind="stable"):
            found.append(_part(v, share, probabilities, n, int(classes[i])))
    return tuple(found)


def _part(v: View, share: Array, probabilities: Array | None, n: int, index: int) -> Part:
    here = v.winner[n] == index
    streams = v.streams[:, n, here].astype(np.float64)
    chance = None if probabilities is None else float(probabilities[n, index, here].mean())
    return Part(
        sample=n,
        index=index,
        positions=int(here.sum()),
        fraction=float(here.mean()),
        value=float(v.values[n, index, here].astype(np.float64).mean()),
        probability=chance,
        contributions=tuple(streams.mean(axis=1).tolist()),
        shares=tuple(share[:, n, here].mean(axis=1).tolist()),
    )


def probabilities(output: Array | None, values: Array, class_axis: int) -> Array | None:
    """Return probabilities [N, C, P] if the model's own output holds them, or their logarithms.

    What was looked through can also be a cast, a quantisation or a move: the numbers tell.

    Parameters
    ----------
    output
        The output that was looked through to the explained tensor `values`, if it was.
    """
    if output is None or output.dtype.kind != "f" or _plain(output) != _plain(values):
        return None
    output = output.reshape(values.shape)
    p = _samples_first(output.astype(np.float64), class_axis)
    with np.errstate(over="ignore"):
        if _sum_to_one(p):
            return p
        if _sum_to_one(np.exp(p)):
            return np.asarray(np.exp(p))
        sigmoid = 1 / (1 + np.exp(-_samples_first(values.astype(np.float64), class_axis)))
    return p if np.allclose(p, sigmoid, atol=QUANTISED) else None


def _plain(array: Array) -> list[int]:
    """Return a shape without the axes of size 1, which a Reshape moves freely."""
    return [d for d in array.shape if d != 1]


def _sum_to_one(p: Array) -> bool:
    total = p.sum(axis=1)
    return bool(p.min() >= 0 and np.allclose(total, 1, atol=QUANTISED))
