"""What there is to draw of backward runs: the columns of a figure, its words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from rfponnx.runtime.account import classes as target_classes
from rfponnx.runtime.backward import Relevance
from rfponnx.runtime.canvas import (
    LONG,
    PERCENTILE,
    channel_axis,
    color_scale,
    flat,
    picture,
    short,
)
from rfponnx.runtime.columns import (
    BARS,
    LINES,
    Column,
    Features,
    Maps,
    Pictures,
    Series,
    Winners,
)
from rfponnx.runtime.followed import followed
from rfponnx.runtime.owned import owned
from rfponnx.runtime.ports import Array
from rfponnx.runtime.preprocess import Pixels
from rfponnx.runtime.session import Results

SAMPLES = 6


class Sketch:
    """What there is to draw of some runs."""

    def __init__(self, runs: Sequence[Results], feeds: Mapping[str, Array], pixels: Pixels):
        self.runs, self.feeds, self.pixels = runs, feeds, pixels
        first = runs[0]
        d = first.described
        samples = followed(first)
        self.view, self.samples, self.lone = samples.view, samples.count, samples.lone
        if self.lone:
            self.feeds = {name: x[np.newaxis] for name, x in feeds.items()}
        self.chances = first.probabilities() if self.view is not None else None
        methods = [r.described.method for r in runs]
        several = len(set(methods)) < len(methods)
        self.names = [PurePath(r.model).stem for r in runs] if several else methods
        self.count = min(SAMPLES, self.samples)
        what = d.readouts[0].output
        self.title = f"{methods[0]}: relevance for `{what}`"
        if d.targets not in ((), ("argmax",)) and len(d.targets) == 1:
            self.title += f", target {d.targets[0]}"
        if len(runs) > 1:
            self.title = f"relevance for `{what}` by {len(runs)} methods"

    def label(self, n: int) -> str:
        """Return the name of a row: the sample, and what was predicted."""
        if self.view is None:
            return f"sample {n}"
        winner = self.view.winner[n]
        index = int(np.bincount(winner).argmax())
        here = winner == index
        if self.view.values.shape[1] == 1:
            shown = self.view.values if self.chances is None else self.chances
            return f"sample {n}\nscore {shown[n, 0, here].mean():.3g}"
        if len(winner) > 1:
            return f"sample {n}\n{100 * here.mean():.0f} % class {index}"
        if self.chances is None:
            return f"sample {n}\nclass {index}"
        return f"sample {n}\nclass {index} (p = {self.chances[n, index, 0]:.2g})"

    def colors(self) -> dict[str, Any]:
        """Return the colors of the classes of a segmenter."""
        import matplotlib as mpl

        if self._winners() is None or self.view is None:
            return {}
        present = np.unique(self.view.winner[: self.count])
        if self.view.values.shape[1] > 10:
            return {}
        return {f"class {i}": mpl.colormaps["tab10"](int(i)) for i in present}

    def caption(self, columns: Sequence[Column], limit: float) -> str:
        """Say how to read the figure."""
        lines = [c for c in columns if isinstance(c, Series) and c.signed and c.lines]
        parts = ["each line is a channel, above 0 it speaks for the target"] if lines else []
        if any(c.relevance is not None and c not in lines for c in columns):
            plain = all(r.described.conserves for r in self.runs)
            words = "red speaks for the target, blue against it"
            parts.append(words if plain else "red is positive, blue negative")
        if len(self.runs) > 1:
            parts.append(f"methods differ in scale: each is divided by its own {PERCENTILE}")
        if any(c.colored for c in columns):
            parts.append("maps are summed over channels")
            if len(self.runs) == 1:
                parts.append(f"one scale for all maps, ±{limit:.3g}: the {PERCENTILE}")
        elif len(self.runs) == 1:
            parts.append("one scale for all panels")
        if self.samples > self.count:
            parts.append(f"the first {self.count} of {self.samples} samples")
        return "; ".join(parts)

    def columns(self) -> Iterator[Column]:
        """Yield the columns from left to right: an input, and all that is known of it."""
        winners = self._winners()
        for place, tensor in enumerate(self._tensors()):
            yield from self._input(tensor)
            if place == 0 and winners is not None:
                yield winners
            for results, name in zip(self.runs, self.names, strict=True):
                for one in results.described.of_kind("input", "tap"):
                    if one.tensor == tensor and self._goes_by_samples(results, one):
                        yield from self._relevance(results, one, name)
        for results, name in zip(self.runs, self.names, strict=True):
            yield from self._sources(results, name)

    def _tensors(self) -> list[str]:
        """Return the inputs with a relevance, or the taps where no input has one."""
        for kind in ("input", "tap"):
            found = [r.tensor for run in self.runs for r in run.described.of_kind(kind)]
            if found:
                return list(dict.fromkeys(found))
        return list(self.runs[0].described.inputs)

    def _winners(self) -> Column | None:
        if self.view is None or len(self.view.positions) not in (1, 2):
            return None
        winner = self.view.winner.reshape(len(self.view.winner), *self.view.positions)
        if winner[0].size == 1 or self.view.values.shape[1] == 1:
            return None
        return Winners("prediction", (), winner=flat(winner, 1), count=self.view.values.shape[1])

    def _input(self, tensor: str) -> Iterator[Column]:
        """Yield a column with the input itself, where it can be shown."""
        x = self.feeds.get(tensor)
        if x is None or x.dtype.kind not in "fui" or x.shape[:1] != (self.samples,):
            return
        name = f"input `{short(tensor)}`"
        if x.ndim >= 4:
            axis = channel_axis(x.shape, self.pixels.layout)
            whole = np.moveaxis(x[: self.count], axis, 1)
            whole = flat(whole, 2)
            yield Pictures(name, (), shown=[picture(one, self.pixels, 0) for one in whole])
        elif x.ndim == 3 and min(x.shape[1:]) > LINES:
            grey = Pixels()
            yield Pictures(
                name, (), shown=[picture(one[..., np.newaxis], grey, 2) for one in x[: self.count]]
            )
        elif x.ndim == 3 or (x.ndim == 2 and x.shape[1] > BARS):
            yield Series(name, (), 2.6, values=series(x[: self.count]), signed=False)

    def _relevance(self, results: Results, one: Relevance, name: str) -> Iterator[Column]:
        """Yield a column for each target of one relevance, and one for each source in it."""
        whole, scales = self._summed(results, one), self._scales(results)
        for t, label in enumerate(one.targets):
            r = whole[t][: self.count]
            if len(self.runs) > 1:
                r = r / scales[t].reshape(-1, *(1,) * (r.ndim - 1))
            heading = self._heading(name, label if len(one.targets) > 1 else "")
            if one.kind == "tap":
                heading = f"{heading} at {short(one.tensor)}"
            first = t == 0 and results is self.runs[0]
            yield self._column(heading, self._titles(results, label), one, r, named=first)
        shape = results[one.output].shape
        alone = len(self.runs) == 1 and not one.several
        if alone and one.readout == "all" and len(shape) + self.lone >= 4:
            for source, mine in owned(results, one.tensor, shape, self.feeds):
                r = self._summed(results, one, mine)[0][: self.count]
                yield self._column(f"source `{short(source)}`", (), one, r)

    def _goes_by_samples(self, results: Results, one: Relevance) -> bool:
        shape = results[one.output].shape
        return self.lone or shape[one.sample_axis : one.sample_axis + 1] == (self.samples,)

    def _summed(self, results: Results, one: Relevance, mask: Array | None = None) -> Array:
        """Return a relevance behind targets in float64 [T, N, ...], summed over channels."""
        array = results[one.output].astype(np.float64)
        whole = array if one.several else array[np.newaxis]
        if mask is not None:
            whole = whole * mask
        if self.lone and one.kind != "sources":
            whole = whole[:, np.newaxis]
        if one.kind == "sources":
            return whole.swapaxes(1, 2)
        if one.readout == "all" and whole.ndim >= 5:
            return np.asarray(whole.sum(axis=1 + channel_axis(whole.shape[1:], self.pixels.layout)))
        return whole

    def _scales(self, results: Results) -> Array:
        """Return the end of a scale for all that is drawn of the inputs [T, N]."""
        d = results.described
        kinds = ("input",) if d.of_kind("input") else ("tap", "sources")
        shown = [
            self._summed(results, one)
            for one in d.of_kind(*kinds)
            if self._goes_by_samples(results, one)
        ]
        return np.array(
            [[color_scale([w[t, n] for w in shown]) for n in range(self.count)]
             for t in range(len(d.targets))]
        )  # fmt: skip

    def _column(
        self,
        heading: str,
        titles: Sequence[str],
        one: Relevance,
        r: Array,
        *,
        named: bool = False,
    ) -> Column:
        """Return the column that fits the form of a relevance [N, ...] without channels."""
        if self._is_spatial(one) or (r.ndim == 3 and min(r.shape[1:]) > LINES):
            return Maps(heading, titles, values=flat(r, 1))
        if r.ndim == 3 or (r.ndim == 2 and r.shape[1] > BARS):
            return Series(heading, titles, 2.6, values=series(r))
        r = r.reshape(len(r), -1)
        x = self.feeds.get(one.tensor)
        names = [[f"{one.tensor}[{i}]" for i in range(r.shape[1])]] * len(r)
        if x is not None and x.dtype.kind in "fui" and x.size // len(x) == r.shape[1]:
            given = x.reshape(len(x), -1)[: len(r)]
            names = [
                [f"{short(one.tensor, 9)}[{i}] = {v:.3g}" for i, v in enumerate(row)]
                for row in given
            ]
        if len(self._tensors()) > 1:
            heading = f"{heading} of `{short(one.tensor)}`"
        width = 2.9 if named else 1.9
        return Features(heading, titles, width, values=r, names=names, named=named)

    def _is_spatial(self, one: Relevance) -> bool:
        """Tell whether a relevance has axes of channels and positions, or had them."""
        array = next(r[one.output] for r in self.runs if one in r.described.relevances)
        return array.ndim + self.lone - one.several >= 4 or one.readout in ("channels", "heat")

    def _heading(self, name: str, label: str) -> str:
        """Return what a column of relevance is called: what tells it from the others."""
        several = short(name, 2 * LONG) if len(self.runs) > 1 else ""
        return ", ".join(filter(None, (several, label))) or "relevance"

    def _sources(self, results: Results, name: str) -> Iterator[Column]:
        """Yield bars of the sources."""
        d = results.described
        for one in d.of_kind("sources"):
            if not self._goes_by_samples(results, one):
                continue
            whole, scales = self._summed(results, one), self._scales(results)
            rows = [results.sources] * self.count
            for t, label in enumerate(one.targets):
                r = whole[t][: self.count]
                r = r / scales[t][:, np.newaxis] if len(self.runs) > 1 else r
                heading = self._heading(name, label if len(one.targets) > 1 else "")
                titles = self._titles(results, label)
                yield Features(f"{heading} by source", titles, 2.6, values=r, names=rows)

    def _titles(self, results: Results, label: str) -> list[str]:
        """Return which class a target came to in each sample, unless the label says it."""
        index = target_classes(label, followed(results).view, results)
        if index is None or label == "argmax" or label.partition("@")[0].lstrip("-").isdigit():
            return [""] * self.count
        same = (index == index[:, :1]).all(axis=1)
        return [f"class {int(index[n, 0])}" if same[n] else "" for n in range(self.count)]


def series(x: Array) -> Array:
    """Return [N, C, L] with time last: the longer axis."""
    whole = x[:, np.newaxis] if x.ndim == 2 else x
    return whole if whole.shape[1] <= whole.shape[2] else whole.swapaxes(1, 2)
