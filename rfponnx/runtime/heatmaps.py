"""Pictures of backward runs: what each input looks like, and where its relevance lies."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rfponnx.errors import InputError
from rfponnx.runtime.canvas import GREY, PERCENTILE, axis_scale, color_scale, legend, sheet
from rfponnx.runtime.columns import Column, Features, Winners
from rfponnx.runtime.ports import Array
from rfponnx.runtime.preprocess import Pixels
from rfponnx.runtime.session import Results
from rfponnx.runtime.sketch import Sketch

TALL = 2.1  # inches of the highest picture
ACROSS = 7  # panels of a line, where one sample takes several


def heatmaps(runs: Sequence[Results], feeds: Mapping[str, Array], pixels: Pixels) -> Any:
    """Draw a row for each of the first samples, on one scale.

    A column for each input, beside it one for each method and target; a single sample goes on
    in the next line where these are many.  Maps are summed over channels.

    Parameters
    ----------
    runs
        Of the same inputs; if there are several, each is divided by its own percentile of
        absolute relevance, sample by sample: methods have no common unit.

    Raises
    ------
    InputError
        Nothing of what the files hold can be drawn.
    """
    sketch = Sketch(runs, feeds, pixels)
    columns = list(sketch.columns())
    colored, others = (
        [c.relevance for c in columns if c.relevance is not None and c.colored == which]
        for which in (True, False)
    )
    if not colored + others:
        raise InputError("holds no relevance that can be drawn", runs[0].model)
    limits = {True: color_scale(colored) if len(runs) == 1 else 1.0, False: axis_scale(others)}
    rows = sketch.count
    words = sketch.caption(columns, limits[True])
    figure, grid = _grid(columns, rows, words)
    image = None
    for n in range(rows):
        for column, axes in zip(columns, grid[n], strict=True):
            image = column.draw(axes, n, limits[column.colored]) or image
            title = [column.heading if n == 0 else "", column.titles[n] if column.titles else ""]
            axes.set_title(": ".join(filter(None, title)), fontsize=8)
        grid[n][0].set_ylabel(sketch.label(n), fontsize=8)
    if image is not None:
        label = "relevance" if len(runs) == 1 else f"relevance / {PERCENTILE}"
        _color_bar(figure, grid, image, label)
    for column, axes in zip(columns, grid[-1], strict=True):
        if isinstance(column, Winners) and sketch.colors():
            legend(axes, sketch.colors())
    figure.suptitle(sketch.title, fontsize=10, fontweight="bold")
    figure.supxlabel(folded(words, figure.get_figwidth()), fontsize=8, color=GREY)
    return figure


def _color_bar(figure: Any, grid: Any, image: Any, label: str) -> None:
    slim = figure.get_figheight() * 0.85 / 0.13  # an eighth of an inch, however high the figure
    bar = figure.colorbar(
        image, ax=grid, shrink=0.85, pad=0.01, aspect=slim, extend="both", extendfrac=0.02
    )
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def folded(words: str, width: float) -> str:
    """Return a caption in lines that fit a figure of so many inches."""
    return textwrap.fill(words, int(width * 15.5))


def _grid(columns: Sequence[Column], rows: int, words: str) -> tuple[Any, Any]:
    """Return a figure with a panel for each column and sample, and room for a caption."""
    lines = _lines(columns) if rows == 1 else 1
    across = -(-len(columns) // lines)
    widths = [max(min(c.width, TALL / c.ratio), 1.0) if c.ratio else c.width for c in columns]
    widths = widths[:across]
    heights = [c.ratio * w for c, w in zip(columns, widths, strict=False) if c.ratio]
    tall = float(np.clip(max(heights, default=1.3), 0.8, TALL))
    tables = [c.relevance for c in columns if isinstance(c, Features)]
    tall = max([tall, *(0.35 + 0.15 * t.shape[1] for t in tables if t is not None)])
    every = any(c.titles and any(c.titles) for c in columns)
    titles = 0.35 + 0.17 * every * rows + 0.2 * (lines - 1)
    wide = max(sum(widths) + 0.1 * len(widths) + 1.25, 4.2)
    below = 0.15 * (1 + folded(words, wide).count("\n"))
    below += 0.35 * any(isinstance(c, Winners) for c in columns)
    figure = sheet(wide, (tall + 0.08) * rows * lines + titles + below + 0.3)
    grid = figure.subplots(rows * lines, across, squeeze=False, width_ratios=widths)
    grid = grid.reshape(rows, -1)
    for axes in grid[:, len(columns) :].flat:
        axes.remove()
    return figure, grid[:, : len(columns)]


def _lines(columns: Sequence[Column]) -> int:
    """Return how many lines the columns of one sample take: several only if all are alike."""
    alike = len({c.ratio for c in columns}) == 1 and columns[0].ratio > 0
    return -(-len(columns) // ACROSS) if alike else 1
