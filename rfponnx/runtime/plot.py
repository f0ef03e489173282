"""Pictures of a run: bars for classifiers, maps for segmenters.  Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from rfponnx.errors import OptionError, OutputError
from rfponnx.runtime.ports import Array
from rfponnx.runtime.session import Results
from rfponnx.runtime.summary import Part, View
from rfponnx.runtime.write import check_target, write

FORMATS = (".png", ".pdf", ".svg")
SAMPLES = 8  # of a classifier
SCENES = 4  # of a segmenter
LONG = 18  # characters of a name
DIVERGING = "RdBu_r"
AGAINST, FOR = "#3b6fb6", "#c0392b"  # the ends of that map, for bars
GREY = "#555555"


def check_plot(path: Path, *, force: bool) -> None:
    """Refuse a plot that cannot be made, before any work is done.

    Raises
    ------
    OptionError
        Another format, or no matplotlib.
    OutputError
        See `check_target`.
    """
    if path.suffix.lower() not in FORMATS:
        raise OptionError(f"`{path.name}` is no picture", "--plot", f"use {', '.join(FORMATS)}")
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        what = f"matplotlib cannot be imported: {error}"
        raise OptionError(what, "--plot", "pip install 'rfponnx[plot]'") from error
    check_target(path, force=force)


def plot_results(
    path: Path, results: Results, feeds: Mapping[str, Array], *, force: bool = False
) -> None:
    """Draw what is explained first: bars for each sample, or a map for each source.

    Raises
    ------
    InputError
        The model was not converted.
    OutputError
        The picture cannot be written.
    """
    check_plot(path, force=force)
    view = results.view()
    if sum(d > 1 for d in view.positions) >= 1:
        figure = maps(view, results.sources, feeds)
    else:
        figure = bars(view, results.parts(), results.sources, feeds)

    def fill(file: IO[bytes]) -> None:
        kind = path.suffix.lower().removeprefix(".")
        figure.savefig(file, format=kind, dpi=150, facecolor="white")

    try:
        write(path, fill, force=force)
    except (ValueError, MemoryError) as error:
        raise OutputError(f"the picture cannot be drawn: {error}", str(path)) from error


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bars(view: View, parts: Sequence[Part], rows: Sequence[str], feeds: Mapping[str, Array]) -> Any:
    """Draw a small panel for each of the first samples: its picture, and a bar for each source."""
    first = [p for p in parts if p.sample < SAMPLES]
    pictures = [shown(feeds, p.sample, len(view.winner)) for p in first]
    across = min(4, len(first))
    down = -(-len(first) // across)
    tall = 0.55 + 0.24 * len(rows)
    figure = _figure(2.6 * across + 0.4, (tall + 1.5 * any(map(bool, pictures))) * down + 0.35)
    scale = max((abs(c) for p in first for c in p.contributions), default=1.0) or 1.0
    panels = figure.subfigures(down, across, squeeze=False).ravel()
    for place, (part, beside) in enumerate(zip(first, pictures, strict=True)):
        panel = panels[place]
        lead = place % across == 0
        if beside:
            grid = panel.add_gridspec(2, len(beside), height_ratios=[1.5, tall])
            for column, (name, picture) in enumerate(beside):
                axes = panel.add_subplot(grid[0, column])
                _picture(axes, picture, name)
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
    short = [n if len(n) <= LONG else f"{n[: LONG - 1]}…" for n in rows]
    axes.set_yticks(places, short if names else [""] * len(rows), fontsize=8)
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


def maps(view: View, rows: Sequence[str], feeds: Mapping[str, Array]) -> Any:
    """Draw a row for each of the first samples: picture, prediction, and a map for each source."""
    count = min(SCENES, len(view.winner))
    streams = flat(view.maps, 2)
    winner = flat(view.winner.reshape(len(view.winner), *view.positions), 1)
    pictures = [shown(feeds, n, len(view.winner)) for n in range(count)]
    beside = min((len(p) for p in pictures), default=0)
    across = beside + 1 + len(rows)
    h, w = streams.shape[2:]
    ratio = float(np.clip(h / w, 0.15, 3.0))
    aspect = "equal" if ratio == h / w else "auto"
    figure = _figure(1.9 * across + 0.6, max((max(1.72 * ratio, 0.7) + 0.1) * count + 0.6, 2.6))
    grid = figure.subplots(count, across, squeeze=False)
    limit = float(np.quantile(np.abs(streams[:, :count]), 0.995)) or 1.0
    image: Any = None
    colors: Any = None
    style = {"cmap": DIVERGING, "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    for n in range(count):
        for column in range(beside):
            name, picture = pictures[n][column]
            _picture(grid[n, column], picture, name if n == 0 else "")
        colors = _classes(grid[n, beside], winner[n], view.values.shape[1], aspect)
        _bare(grid[n, beside], "prediction" if n == 0 else "")
        for r, name in enumerate(rows):
            axes = grid[n, beside + 1 + r]
            image = axes.imshow(streams[r, n], aspect=aspect, **style)
            _bare(axes, name[: 2 * LONG] if n == 0 else "")
        grid[n, 0].set_ylabel(f"sample {n}", fontsize=9)
    colorbar = figure.colorbar(image, ax=grid, shrink=0.9, pad=0.01, extend="both")
    colorbar.set_label("contribution to the predicted class", fontsize=8)
    colorbar.ax.tick_params(labelsize=7)
    present = np.unique(winner[:count])
    if len(present) <= 10:
        _legend(figure, {f"class {i}": colors.cmap(colors.norm(i)) for i in present})
    return figure


def _legend(figure: Any, colors: Mapping[str, Any]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=color, label=name) for name, color in colors.items()]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=10, fontsize=8, frameon=False,
        handlelength=1.0, columnspacing=1.2,
    )  # fmt: skip


def flat(array: Array, lead: int) -> Array:
    """Return [*lead, H, W]: a strip for one axis, the middle slice of more than two."""
    while array.ndim > lead + 2:
        array = np.take(array, array.shape[lead] // 2, axis=lead)
    return array if array.ndim == lead + 2 else np.expand_dims(array, lead)


def _classes(axes: Any, winner: Array, classes: int, aspect: str) -> Any:
    """Draw the predicted classes, each in a color of its own; return the image."""
    few = classes <= 10
    return axes.imshow(
        winner, cmap="tab10" if few else "nipy_spectral", vmin=0, vmax=9 if few else classes - 1,
        aspect=aspect, interpolation="nearest",
    )  # fmt: skip


def _picture(axes: Any, picture: Array, title: str) -> None:
    axes.imshow(picture, cmap="gray", aspect="equal", interpolation="nearest")
    _bare(axes, title)


def _bare(axes: Any, title: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for edge in axes.spines.values():
        edge.set_color("#bbbbbb")
    if title:
        axes.set_title(title, fontsize=8)


def shown(feeds: Mapping[str, Array], sample: int, samples: int) -> list[tuple[str, Array]]:
    """Return the inputs that look like pictures, [H, W] or [H, W, 3] in 0..1, with their names."""
    found = []
    for name, array in feeds.items():
        if array.dtype.kind not in "fu" or array.ndim not in (3, 4) or len(array) != samples:
            continue
        one = array[sample]
        if one.ndim == 3:
            one = one if one.shape[-1] in (1, 3, 4) else np.moveaxis(one, 0, -1)
            one = one[..., :3] if one.shape[-1] >= 3 else one[..., 0]
        if min(one.shape[:2]) < 4:
            continue
        low, high = float(one.min()), float(one.max())
        found.append((name, (one.astype(np.float64) - low) / ((high - low) or 1.0)))
    return found[:3]
