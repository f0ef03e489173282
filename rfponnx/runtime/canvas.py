"""What all pictures of a run share: the sheet, its colors, how input data is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from rfponnx.errors import OptionError, OutputError
from rfponnx.runtime.ports import Array
from rfponnx.runtime.preprocess import Pixels
from rfponnx.runtime.write import check_target, write

FORMATS = (".png", ".pdf", ".svg")
DIVERGING = "RdBu_r"
AGAINST, FOR = "#3b6fb6", "#c0392b"  # the ends of that map, for bars
GREY = "#555555"
PALE = "#bbbbbb"
LONG = 18  # characters of a name
QUANTILE = 0.995  # of the absolute values: where a scale of colors ends
PERCENTILE = f"{100 * QUANTILE:.1f}th percentile of |R|"


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


def save(figure: Any, path: Path, *, force: bool) -> None:
    """Write a figure.

    Raises
    ------
    OutputError
        It cannot be drawn or written.
    """

    def fill(file: IO[bytes]) -> None:
        kind = path.suffix.lower().removeprefix(".")
        figure.savefig(file, format=kind, dpi=150, facecolor="white")

    try:
        write(path, fill, force=force)
    except (ValueError, MemoryError) as error:
        raise OutputError(f"the picture cannot be drawn: {error}", str(path)) from error


def sheet(width: float, height: float) -> Any:
    """Return an empty figure of this size in inches, free of any global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Any, title: str) -> None:
    """Take the ticks off a panel, and put a title above it."""
    axes.set_xticks([])
    axes.set_yticks([])
    for edge in axes.spines.values():
        edge.set_color(PALE)
    if title:
        axes.set_title(title, fontsize=8)


def short(name: str, length: int = LONG) -> str:
    """Return a name that is cut where it is too long."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def photo(axes: Any, shown: Array, title: str) -> None:
    """Draw a picture [H, W] or [H, W, 3] in 0..1."""
    style = {} if shown.ndim == 3 else {"cmap": "gray", "vmin": 0, "vmax": 1}
    axes.imshow(shown, aspect="equal", interpolation="nearest", **style)
    bare(axes, title)


def classes(axes: Any, winner: Array, count: int, aspect: str) -> Any:
    """Draw predicted classes [H, W], each in a color of its own; return the image."""
    few = count <= 10
    return axes.imshow(
        winner, cmap="tab10" if few else "nipy_spectral", vmin=0, vmax=9 if few else count - 1,
        aspect=aspect, interpolation="nearest",
    )  # fmt: skip


def patches(colors: Mapping[str, Any]) -> list[Any]:
    """Return what a legend shows of some colors."""
    from matplotlib.patches import Patch

    return [Patch(color=color, label=name) for name, color in colors.items()]


def legend(axes: Any, colors: Mapping[str, Any]) -> None:
    """Name some colors below a panel."""
    axes.legend(
        handles=patches(colors), loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2,
        fontsize=7, frameon=False, handlelength=1.0, columnspacing=1.0, labelspacing=0.3,
    )  # fmt: skip


def flat(array: Array, lead: int) -> Array:
    """Return [*lead, H, W]: a strip for one axis, the middle slice of more than two."""
    while array.ndim > lead + 2:
        array = np.take(array, array.shape[lead] // 2, axis=lead)
    return array if array.ndim == lead + 2 else np.expand_dims(array, lead)


def channel_axis(shape: tuple[int, ...], layout: str = "auto") -> int:
    """Return the axis of the channels of a batch of pictures [N, C, H, W] or [N, H, W, C]."""
    if layout != "auto":
        return 1 if layout == "nchw" else len(shape) - 1
    last = shape[1] not in (1, 3, 4) and shape[-1] in (1, 3, 4)
    return len(shape) - 1 if last else 1


def picture(one: Array, pixels: Pixels, axis: int) -> Array:
    """Return a sample as it looked before preprocessing, [H, W] or [H, W, 3] in 0..1.

    What was subtracted and divided is undone where the options say it.  Of more than three
    channels the first three are shown, of two the mean.

    Parameters
    ----------
    one
        A sample with a channel axis `axis`, and two axes of positions.
    """
    x = np.moveaxis(one.astype(np.float64), axis, -1)
    for numbers, undo in ((pixels.std, np.multiply), (pixels.mean, np.add)):
        if len(numbers) in (1, x.shape[-1]):
            x = undo(x, np.array(numbers))
    if pixels.scale:
        x = x / pixels.scale
    if x.shape[-1] >= 3:
        x = x[..., :3][..., :: -1 if pixels.color == "bgr" else 1]
    else:
        x = x.mean(axis=-1)
    return _in_range(x, pixels.given)


def _in_range(x: Array, undone: bool) -> Array:
    """Return numbers in 0..1: stored ones over their range, others over their own."""
    low, high = float(x.min()), float(x.max())
    top = next((t for t in (1.0, 255.0) if high <= 1.02 * t), None)
    if top is not None and low > -0.02 * top and (undone or high > 0.5 * top):
        return np.clip(x / top, 0, 1)
    low, high = (float(v) for v in np.quantile(x, [0.002, 0.998]))
    if high <= low:
        low, high = float(x.min()), float(x.max())
    return np.clip((x - low) / ((high - low) or 1.0), 0, 1)


def color_scale(drawn: Sequence[Array]) -> float:
    """Return the end of a symmetric scale: the 99.5th percentile of all absolute values."""
    sizes = np.concatenate([_sizes(a) for a in drawn]) if drawn else np.zeros(1)
    return float(np.quantile(sizes, QUANTILE)) or float(sizes.max()) or 1.0


def axis_scale(drawn: Sequence[Array]) -> float:
    """Return the end of a symmetric axis: the largest absolute value."""
    return max((float(_sizes(a).max()) for a in drawn), default=1.0) or 1.0


def _sizes(a: Array) -> Array:
    """Return the absolute values that are numbers; 0 where there are none."""
    sizes = np.abs(a[np.isfinite(a)])
    return sizes if sizes.size else np.zeros(1)
