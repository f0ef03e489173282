"""Pictures of a run: bars for classifiers, maps for segmenters.  Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rfponnx.errors import InputError
from rfponnx.runtime.canvas import (
    AGAINST,
    DIVERGING,
    FOR,
    GREY,
    LONG,
    bare,
    channel_axis,
    check_plot,
    classes,
    flat,
    patches,
    photo,
    picture,
    save,
    sheet,
    short,
)
from rfponnx.runtime.heatmaps import heatmaps
from rfponnx.runtime.ports import Array
from rfponnx.runtime.preprocess import Pixels
from rfponnx.runtime.session import Results
from rfponnx.runtime.summary import Part, View

SAMPLES = 8  # of a classifier
SCENES = 4  # of a segmenter


def plot_results(
    path: Path,
    results: Results | Sequence[Results],
    feeds: Mapping[str, Array],
    *,
    pixels: Pixels | None = None,
    force: bool = False,
) -> None:
    """Draw what is explained first.

    Forward: bars for each sample, or a map for each source.  Backward: maps of the inputs, of
    several files side by side.

    Parameters
    ----------
    pixels
        The preprocessing of `feeds`, which pictures of them undo.

    Raises
    ------
    InputError
        A model was not converted.
    OutputError
        The picture cannot be written.
    """
    check_plot(path, force=force)
    runs = (results,) if isinstance(results, Results) else tuple(results)
    pixels = pixels or Pixels()
    if all(r.description is not None and r.description.backward for r in runs):
        figure = heatmaps(runs, feeds, pixels)
    elif len(runs) > 1:
        raise InputError("only backward files are drawn side by side", runs[0].model)
    elif sum(d > 1 for d in runs[0].view().positions) >= 1:
        figure = maps(runs[0].view(), runs[0].sources, feeds, pixels)
    else:
        one = runs[0]
        figure = bars(one.view(), one.parts(), one.sources, feeds, pixels)
    save(figure, path, force=force)


def bars(
    view: View,
    parts: Sequence[Part],
    rows: Sequence[str],
    feeds: Mapping[str, Array],
    pixels: Pixels | None = None,
) -> Any:
    """Draw a small panel for each of the first samples: its picture, and a bar for each source."""
    first = [p for p in parts if p.sample < SAMPLES]
    pictures = [shown(feeds, p.sample, len(view.winner), pixels) for p in first]
    across = min(4, len(first))
    down = -(-len(first) // across)
    tall = 0.55 + 0.24 * len(rows)
    figure = sheet(2.6 * across + 0.4, (tall + 1.5 * any(map(bool, pictures))) * down + 0.35)
    scale = max((abs(c) for p in first for c in p.contributions), default=1.0) or 1.0
    panels = figure.subfigures(down, across, squeeze=False).ravel()
    for place, (part, beside) in enumerate(zip(first, pictures, strict=True)):
        panel = panels[place]
        lead = place % across == 0
        if beside:
            grid = panel.add_gridspec(2, len(beside), height_ratios=[1.5, tall])
            for column, (name, picture) in enumerate(beside):
                axes = panel.add_subplot(grid[0, column])
                photo(axes, picture, name)
            axes = panel.add_subplot(grid[1, :])
        else:
            axes = panel.add_subplot()
        _bars(axes, part, rows, scale, names=lead or bool(beside))
        panel.suptitle(_title(part), x=0.55, fontsize=9, fontweight="bold")
    figure.supxlabel("contribution to the predicted class", fontsize=8, color=GREY)
    return figure


def _title(part: Part) -> str:
    chance = part.probability
    value = f"{part.value:.3g}" if chance is None else f"p = {chance:.3g}"
    return f"sample {part.sample}: class {part.index} ({value})"


def _bars(axes: Any, part: Part, rows: Sequence[str], scale: float, *, names: bool) -> None:
    places = np.arange(len(rows))
    values = np.array(part.contributions)
    axes.barh(places, values, color=[FOR if v >= 0 else AGAINST for v in values], height=0.7)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_xlim(-1.35 * scale if (values < 0).any() else -0.05 * scale, 1.45 * scale)
    axes.set_yticks(places, [short(n) for n in rows] if names else [""] * len(rows), fontsize=8)
    axes.invert_yaxis()
    for place, value in zip(places, values, strict=True):
        side = "left" if value >= 0 else "right"
        text = f" {value:.3g} "
        axes.text(value, place, text, va="center", ha=side, fontsize=7, color=GREY)
    axes.tick_params(axis="x", labelsize=7, colors=GREY)
    axes.tick_params(axis="y", length=0)
    for edge in ("top", "right", "left"):
        axes.spines[edge].set_visible(False)
    axes.spines["bottom"].set_color(GREY)


def maps(
    view: View, rows: Sequence[str], feeds: Mapping[str, Array], pixels: Pixels | None = None
) -> Any:
    """Draw a row for each of the first samples: picture, prediction, and a map for each source."""
    count = min(SCENES, len(view.winner))
    streams = flat(view.maps, 2)
    winner = flat(view.winner.reshape(len(view.winner), *view.positions), 1)
    pictures = [shown(feeds, n, len(view.winner), pixels) for n in range(count)]
    beside = min((len(p) for p in pictures), default=0)
    across = beside + 1 + len(rows)
    h, w = streams.shape[2:]
    ratio = float(np.clip(h / w, 0.15, 3.0))
    aspect = "equal" if ratio == h / w else "auto"
    figure = sheet(1.9 * across + 0.6, max((max(1.72 * ratio, 0.7) + 0.1) * count + 0.6, 2.6))
    grid = figure.subplots(count, across, squeeze=False)
    limit = float(np.quantile(np.abs(streams[:, :count]), 0.995)) or 1.0
    image: Any = None
    colors: Any = None
    style = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    for n in range(count):
        for column in range(beside):
            name, picture = pictures[n][column]
            photo(grid[n, column], picture, name if n == 0 else "")
        colors = classes(grid[n, beside], winner[n], view.values.shape[1], aspect)
        bare(grid[n, beside], "prediction" if n == 0 else "")
        for r, name in enumerate(rows):
            axes = grid[n, beside + 1 + r]
            image = axes.imshow(streams[r, n], aspect=aspect, **style)
            bare(axes, name[: 2 * LONG] if n == 0 else "")
        grid[n, 0].set_ylabel(f"sample {n}", fontsize=9)
    colorbar = figure.colorbar(image, ax=grid, shrink=0.9, pad=0.01, extend="both")
    colorbar.set_label("contribution to the predicted class", fontsize=8)
    colorbar.ax.tick_params(labelsize=7)
    present = np.unique(winner[:count])
    if len(present) <= 10:
        handles = patches({f"class {i}": colors.cmap(colors.norm(i)) for i in present})
        figure.legend(
            handles=handles, loc="outside lower center", ncols=10, fontsize=8, frameon=False,
            handlelength=1.0, columnspacing=1.2,
        )  # fmt: skip
    return figure


def shown(
    feeds: Mapping[str, Array], sample: int, samples: int, pixels: Pixels | None = None
) -> list[tuple[str, Array]]:
    """Return the inputs that look like pictures, [H, W] or [H, W, 3] in 0..1, with their names."""
    found = []
    for name, array in feeds.items():
        if array.dtype.kind not in "fu" or array.ndim not in (3, 4) or len(array) != samples:
            continue
        how = pixels or Pixels()
        axis = channel_axis(array.shape, how.layout) if array.ndim == 4 else 3
        one = array[sample] if array.ndim == 4 else array[sample][..., np.newaxis]
        one = picture(one, how, axis - 1)
        if min(one.shape[:2]) >= 4:
            found.append((name, one))
    return found[:3]
