"""Where the relevance of a backward run went, in numbers, and whether they add up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rfponnx.errors import RfpError
from rfponnx.plan.options import Options
from rfponnx.plan.walks import recipe_of
from rfponnx.runtime.description import Description
from rfponnx.runtime.followed import followed
from rfponnx.runtime.ports import Array
from rfponnx.runtime.results import Results
from rfponnx.runtime.summary import View

#: Methods whose relevance sums to a difference from a reference, which a file does not hold.
FROM_REFERENCE = ("deeplift", "integrated_gradients")
#: Methods whose pass starts with 1 and whose relevance sums to the explained value all the same.
TO_VALUE = ("gradient_x_input",)


@dataclass(frozen=True, slots=True)
class Account:
    """The relevance of one target in one sample.

    Attributes
    ----------
    sample
        ``None``: of all samples together, where bias or leak are not known for each.
    target
        Its label; `index` the class, where it is one and the same in the whole sample.
    predicted, fraction
        The class that most positions have, and how many of them (1 in a classifier).
    probability
        What the model's own output says of `predicted`, where that is a probability.
    value
        The explained tensor at the target, summed over positions.
    inputs, sources
        The sum of the relevance by input, and by source (the last one is all the rest).
    seed
        What everything sums to by the method's own law; ``None`` where none holds or the file
        does not tell.
    total
        The sum of all parts; ``None`` where they are not all there: a method that does not
        conserve, a quantised read-out, bias and leak left out or known for all samples only.
    scale
        ``max(|seed|, sum |R| + |bias| + |leak|)``, which `off` is relative to.
    """

    sample: int | None
    target: str
    index: int | None
    predicted: int | None
    fraction: float | None
    probability: float | None
    value: float | None
    inputs: Mapping[str, float]
    sources: Mapping[str, float]
    bias: float | None
    leak: float | None
    total: float | None
    seed: float | None
    scale: float

    @property
    def off(self) -> float | None:
        """``|total - seed| / scale``."""
        if self.total is None or self.seed is None:
            return None
        return abs(self.total - self.seed) / self.scale if self.scale > 0 else 0.0


def accounts(results: Results) -> tuple[Account, ...]:
    """Return one for each sample and target, samples first; at the end those of all samples.

    Raises
    ------
    InputError
        The file is not one of the backward direction.
    """
    book = _Book(results)
    found = [book.entry(n, t) for n in range(book.samples) for t in range(len(book.targets))]
    if book.together:
        found += [book.entry(None, t) for t in range(len(book.targets))]
    return tuple(found)


class _Book:
    """All sums of a run in float64, by target and sample."""

    def __init__(self, results: Results) -> None:
        self.d = d = results.described
        self.targets = results.targets
        whole = results.values_view() if d.readouts[0].values else None
        samples = followed(results)
        self.view, self.samples = samples.view, samples.count
        self.chances = results.probabilities() if self.view is not None else None
        self.indices = [classes(label, whole, results) for label in self.targets]
        sums, sizes = (
            {
                r.output: _sums(make(results[r.output]), r.several, r.kind, samples.lone)
                for r in d.relevances
            }
            for make in (np.asarray, np.abs)
        )
        inputs = d.of_kind("input")
        self.inputs = {r.tensor: sums[r.output] for r in inputs}
        self.sizes = [sizes[r.output] for r in inputs]
        self.complete = all(r.readout != "heat" for r in inputs)
        rows = next((sums[r.output] for r in d.of_kind("sources")), None)
        self.rows = rows
        self.names = results.sources if rows is not None else ()
        if not inputs and rows is not None:
            self.sizes = [np.abs(rows[:, i]) for i in range(rows.shape[1])]
        self.balanced = self.d.conserves and (rows is not None or bool(d.of_kind("bias")))
        self.bias = next((sums[r.output] for r in d.of_kind("bias")), None)
        self.leak = next((sums[r.output] for r in d.of_kind("leak")), None)
        self.together = any(s.shape[-1] != self.samples for s in sums.values()) or (
            whole is not None and self.view is None
        )
        self.seeds = [
            seeds(results, whole, label, index)
            for label, index in zip(self.targets, self.indices, strict=True)
        ]

    def entry(self, n: int | None, t: int) -> Account:
        """Return the numbers of a sample, or of all of them."""
        inputs = {name: _at(a[t], n) for name, a in self.inputs.items() if self._has(a, n)}
        sources = {}
        if self.rows is not None and self._has(self.rows, n):
            sources = {
                name: _at(row, n) for name, row in zip(self.names, self.rows[t], strict=True)
            }
        known = n is None or not self.together
        bias, leak = (
            _at(a[t], n) if a is not None and known else None for a in (self.bias, self.leak)
        )
        total, seed = None, None
        if known and self.complete and self.balanced:
            own = [*inputs.values(), bias, leak] if inputs else list(sources.values())
            total = sum(v for v in own if v is not None)
            given = self.seeds[t]
            seed = None if given is None else _at(given, n)
        size = sum(_at(a[t], n) for a in self.sizes if self._has(a, n))
        size += abs(bias or 0.0) + abs(leak or 0.0)
        predicted, fraction, probability = self._predicted(n)
        index, value = self._target(n, t)
        return Account(
            n, self.targets[t], index, predicted, fraction, probability, value, inputs, sources,
            bias, leak, total, seed, max(abs(seed or 0.0), size),
        )  # fmt: skip

    def _has(self, sums: Array, n: int | None) -> bool:
        """Tell whether sums go by the samples, or all samples are asked for."""
        return n is None or sums.shape[-1] == self.samples

    def _predicted(self, n: int | None) -> tuple[int | None, float | None, float | None]:
        if n is None or self.view is None:
            return None, None, None
        winner = self.view.winner[n]
        index = int(np.bincount(winner).argmax())
        here = winner == index
        chance = None if self.chances is None else float(self.chances[n, index, here].mean())
        return index, float(here.mean()), chance

    def _target(self, n: int | None, t: int) -> tuple[int | None, float | None]:
        at = self.indices[t]
        if n is None or at is None or self.view is None:
            return None, None
        index = int(at[n, 0]) if (at[n] == at[n, 0]).all() else None
        return index, float(_taken(self.view, at)[n].sum())


def classes(label: str, view: View | None, results: Results) -> Array | None:
    """Return the class [N, P] that a label means at every position; ``None`` if it is not one."""
    if view is None:
        return None
    n, c, p = view.values.shape
    if label == "argmax":
        return view.winner
    if match := re.fullmatch(r"top(\d+)", label):
        order = np.argsort(-view.values, axis=1, kind="stable")
        return np.asarray(order[:, int(match[1]) - 1])
    if match := re.fullmatch(r"(-?\d+)(@predicted)?", label):
        return np.full((n, p), int(match[1]) % c)
    match, given = re.fullmatch(r"input|target(\d+)", label), results.given("target")
    if match and given is not None:
        given = given[int(match[1]) - 1] if match[1] else given
        return np.broadcast_to(given.reshape(len(given), -1), (n, p)) if given.ndim else None
    return None


def seeds(results: Results, view: View | None, label: str, index: Array | None) -> Array | None:
    """Return what relevance, bias and leak sum to [N]; ``None`` where the file does not tell."""
    d = results.described
    kind = seeded(d)
    if view is None or kind is None:
        return None
    if label == "seed":
        return _given(results, view, times_value=d.method in TO_VALUE)
    e = View(_levels(view.values.astype(np.float64), kind), view.winner, view.streams, ())
    if match := re.fullmatch(r"(\d+)-(\d+)", label):
        first, second = (np.full(view.winner.shape, int(i)) for i in match.groups())
        return np.asarray((_taken(e, first) - _taken(e, second)).sum(axis=1))
    if index is None:
        return None
    where = view.winner == index if label.endswith("@predicted") else np.True_
    return np.asarray((_taken(e, index) * where).sum(axis=1))


def seeded(d: Description) -> str | None:
    """Return what an entry of the target is seeded with: ``logit``, ``one``, ``probability``.

    ``None`` where the sum of all relevance is not what was seeded, or is not known.
    """
    if d.method in FROM_REFERENCE:
        return None
    if d.method in TO_VALUE:
        return "logit"
    try:
        recipe = recipe_of(Options.from_json({**d.options, "method": d.method}))
    except (RfpError, LookupError, TypeError, ValueError):
        return None
    kind = recipe.convention.seed if recipe is not None else "logit"
    return kind if kind in ("logit", "one", "probability") else None


def _levels(values: Array, kind: str) -> Array:
    """Return what each entry [N, C, P] would be seeded with."""
    if kind == "one":
        return np.ones(values.shape)
    if kind == "logit":
        return values
    if values.shape[1] == 1:
        return np.asarray(1 / (1 + np.exp(-values)))
    power = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True))


def _given(results: Results, view: View, *, times_value: bool) -> Array | None:
    """Return the sum [N] of a seed that was given, of a gradient times the explained tensor."""
    given = results.given("seed")
    if given is None or given.shape != results.explained().shape:
        return None
    whole = given.astype(np.float64)
    whole = whole * results.explained() if times_value else whole
    return np.asarray(whole.reshape(len(view.values), -1).sum(axis=1))


def _taken(view: View, index: Array) -> Array:
    """Return the explained values [N, P] at a class for each position."""
    return np.asarray(np.take_along_axis(view.values, index[:, np.newaxis], axis=1)[:, 0])


def _sums(array: Array, several: bool, kind: str, lone: bool) -> Array:
    """Return the sums over everything but targets T, rows S and samples N: [T, N] or [T, S, N].

    Parameters
    ----------
    lone
        Whether there is one sample that no axis counts.
    """
    whole = array.astype(np.float64) if several else array.astype(np.float64)[np.newaxis]
    lead = 2 if kind == "sources" else 1
    if not lone and whole.ndim > lead:
        return np.asarray(whole.sum(axis=tuple(range(lead + 1, whole.ndim))))
    return np.asarray(whole.sum(axis=tuple(range(lead, whole.ndim))))[..., np.newaxis]


def _at(array: Array, n: int | None) -> float:
    return float(array.sum() if n is None else array[n])
