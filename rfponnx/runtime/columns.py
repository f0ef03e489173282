"""The columns of a figure of relevances: each draws one panel for a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rfponnx.runtime.canvas import AGAINST, DIVERGING, FOR, GREY, PALE, bare, classes, photo, short
from rfponnx.runtime.ports import Array

LINES = 6  # channels of a series that are drawn as lines
NAME = 28  # characters in front of a bar
BARS = 24  # features of a table that are drawn as bars
INK = ("#3a8f5c", "#8e5ea2", "#c98a1b", "#2a9d9d", "#7f6a4f", "#555555")  # neither for nor against


@dataclass(frozen=True, eq=False)
class Column:
    """A panel for each sample, under a common heading.

    Attributes
    ----------
    heading
        Stands above the first panel.
    titles
        One for each sample; may be empty.
    width
        In inches.
    """

    heading: str
    titles: Sequence[str]
    width: float = 1.9

    @property
    def relevance(self) -> Array | None:
        """What is drawn on the scale of the figure [N, ...]; ``None`` if it has another one."""
        return None

    @property
    def ratio(self) -> float:
        """Height to width of a panel; 0 if it takes any."""
        return 0.0

    @property
    def colored(self) -> bool:
        """Whether its scale is one of colors, which may be left at both ends."""
        return False

    def draw(self, axes: Any, n: int, limit: float) -> Any:
        """Draw the panel of a sample; return an image that needs a color bar, if there is one."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Pictures(Column):
    """The input itself, [H, W] or [H, W, 3] a sample."""

    shown: Sequence[Array] = ()

    @property
    def ratio(self) -> float:
        """See `Column`."""
        return float(self.shown[0].shape[0] / self.shown[0].shape[1])

    def draw(self, axes: Any, n: int, limit: float) -> Any:
        """See `Column`."""
        photo(axes, self.shown[n], "")
        axes.set_aspect("equal" if 0.2 <= self.ratio <= 4 else "auto")


@dataclass(frozen=True, eq=False)
class Maps(Column):
    """Relevance [N, H, W] in colors."""

    values: Array | None = None

    @property
    def relevance(self) -> Array | None:
        """See `Column`."""
        return self.values

    @property
    def colored(self) -> bool:
        """See `Column`."""
        return True

    @property
    def ratio(self) -> float:
        """See `Column`."""
        assert self.values is not None
        return float(self.values.shape[1] / self.values.shape[2])

    def draw(self, axes: Any, n: int, limit: float) -> Any:
        """See `Column`."""
        assert self.values is not None
        image = axes.imshow(
            # "antialiased": squares where they are seen, no moiré where they are not
            self.values[n], cmap=DIVERGING, vmin=-limit, vmax=limit, interpolation="antialiased",
            aspect="equal" if 0.2 <= self.ratio <= 4 else "auto",
        )  # fmt: skip
        bare(axes, "")
        return image


@dataclass(frozen=True, eq=False)
class Winners(Column):
    """The predicted class at each position [N, H, W]."""

    winner: Array | None = None
    count: int = 1

    @property
    def ratio(self) -> float:
        """See `Column`."""
        assert self.winner is not None
        return float(self.winner.shape[1] / self.winner.shape[2])

    def draw(self, axes: Any, n: int, limit: float) -> Any:
        """See `Column`."""
        assert self.winner is not None
        classes(axes, self.winner[n], self.count, "equal" if 0.2 <= self.ratio <= 4 else "auto")
        bare(axes, "")


@dataclass(frozen=True, eq=False)
class Series(Column):
    """Channels over time [N, C, L]: the input in grey, or its relevance."""

    values: Array | None = None
    signed: bool = True

    @property
    def lines(self) -> bool:
        """Whether there are several channels, a line for each."""
        return self.values is not None and self.values.shape[1] > 1

    @property
    def relevance(self) -> Array | None:
        """See `Column`."""
        return self.values if self.signed else None

    def draw(self, axes: Any, n: int, limit: float) -> Any:
        """See `Column`."""
        assert self.values is not None
        one = self.values[n]
        places = np.arange(one.shape[1])
        alone = len(one) == 1
        for i, line in enumerate(one):
            if self.signed and alone:
                colors = [FOR if v >= 0 else AGAINST for v in line]
                axes.bar(places, line, color=colors, width=0.9)
            else:
                axes.plot(places, line, color=GREY if alone else INK[i], linewidth=1)
        if self.signed:
            axes.axhline(0, color=GREY, linewidth=0.6)
            axes.set_ylim(-1.05 * limit, 1.05 * limit)
        axes.set_xlim(-0.6, one.shape[1] - 0.4)
        _thin(axes)


@dataclass(frozen=True, eq=False)
class Features(Column):
    """A bar for each name: the features of a table, or sources [N, F].

    Attributes
    ----------
    named
        Whether the names stand in front of the bars, or of those of a column to the left.
    """

    values: Array | None = None
    names: Sequence[Sequence[str]] = ()
    named: bool = True

    @property
    def relevance(self) -> Array | None:
        """See `Column`."""
        return self.values

    def draw(self, axes: Any, n: int, limit: float) -> Any:
        """See `Column`."""
        assert self.values is not None
        one, names = self.values[n], self.names[n]
        places = np.arange(len(one))
        axes.barh(places, one, color=[FOR if v >= 0 else AGAINST for v in one], height=0.7)
        axes.axvline(0, color=GREY, linewidth=0.8)
        room = 1.5 if len(one) <= 12 else 1.05
        axes.set_xlim(-room * limit, room * limit)
        shown = [short(s, NAME) for s in names] if self.named else [""] * len(names)
        axes.set_yticks(places, shown)
        axes.set_ylim(len(one) - 0.4, -0.6)
        for place, value in zip(places, one, strict=True) if len(one) <= 12 else ():
            side = "left" if value >= 0 else "right"
            axes.text(value, place, f" {value:.2g} ", va="center", ha=side, fontsize=6, color=GREY)
        _thin(axes)
        axes.tick_params(axis="y", length=0, labelsize=7)
        axes.spines["left"].set_visible(False)


def _thin(axes: Any) -> None:
    """Draw the frame of a panel with numbers in grey, and only where it is needed."""
    from matplotlib.ticker import MaxNLocator

    axes.tick_params(labelsize=6, colors=GREY)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
    for edge in ("left", "bottom"):
        axes.spines[edge].set_color(PALE)
