"""How files become the numbers a network wants: options, or a small TOML file that holds them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rfponnx.errors import OptionError, nearest

LAYOUTS = ("auto", "nchw", "nhwc")
COLORS = ("rgb", "bgr")
OPTION = "--preprocess"


@dataclass(frozen=True, slots=True)
class Pixels:
    """How stored numbers become the numbers a network wants: ``(x * scale - mean) / std``.

    Attributes
    ----------
    scale
        ``None``: 1/255 for 8-bit data, else 1.
    mean, std
        One number, or one for each channel, in the order of the network's channels.
    layout
        ``nchw``, ``nhwc``, or ``auto``: where the input has 1, 3 or 4 channels.
    color
        ``rgb`` or ``bgr``: the order of a picture's channels.
    resize
        Whether a picture may be resized to fit.
    size
        What a picture is resized to: height and width, or its shorter side; empty: what the
        input takes.
    crop
        Height and width that are cut out of the middle, after resizing with the sides kept in
        proportion; empty: nothing is cut.
    """

    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str = "auto"
    color: str = "rgb"
    resize: bool = False
    size: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()

    @property
    def given(self) -> bool:
        """Whether the numbers are to be changed in arrays too."""
        return self.scale is not None or bool(self.mean) or bool(self.std)

    def changed(self, options: Mapping[str, Any]) -> Pixels:
        """Return the same with some values replaced: options beat a file."""
        return replace(self, **options)


def read_preprocess(path: Path) -> Pixels:
    """Read a TOML file with some of the keys mean, std, scale, layout, color, resize, size, crop.

    Raises
    ------
    OptionError
        No such file, no TOML, an unknown key, a value of another kind.
    """
    where = f"{OPTION} {path}"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(error.strerror or "cannot be read", where) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise OptionError(f"is no TOML: {error}", where) from error
    found: dict[str, Any] = {}
    for key, value in data.items():
        if key not in _READ:
            hint = nearest(key, _READ) or f"keys are: {', '.join(_READ)}"
            raise OptionError(f"no key `{key}`", where, hint)
        read, words = _READ[key]
        try:
            found[key] = read(value)
        except (ValueError, TypeError, OverflowError, ZeroDivisionError):
            raise OptionError(f"`{key}` is {value!r}", where, f"give {words}") from None
    return Pixels(**found)


def _number(value: Any) -> float:
    """Read a number, or a fraction as text: TOML has none."""
    if isinstance(value, str):
        above, slash, below = value.partition("/")
        return float(above) / float(below) if slash else float(above)
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _numbers(value: Any) -> tuple[float, ...]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError
    return tuple(map(_number, values))


def _sides(value: Any) -> tuple[int, ...]:
    sides = value if isinstance(value, list) else [value]
    whole = all(isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in sides)
    if not whole or len(sides) not in (1, 2):
        raise ValueError
    return tuple(sides)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _word(*known: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError
        return str(value)

    return read


_READ: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "mean": (_numbers, "a number, or a list with one for each channel"),
    "std": (_numbers, "a number, or a list with one for each channel"),
    "scale": (_number, 'a number, or a fraction as text: "1/255"'),
    "layout": (_word(*LAYOUTS), f"one of {', '.join(LAYOUTS)}"),
    "color": (_word(*COLORS), f"one of {', '.join(COLORS)}"),
    "resize": (_flag, "true or false"),
    "size": (_sides, "the shorter side, or [height, width]"),
    "crop": (_sides, "one side of a square, or [height, width]"),
}
