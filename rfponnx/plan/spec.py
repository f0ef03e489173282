"""How sources are written, and what is meant: ``NAME=PIECE[+PIECE...]`` (DESIGN 3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rfponnx.errors import OptionError, nearest
from rfponnx.graph.graph import Graph

QUOTES = ("'", '"')
Slice = tuple[int | None, int | None, int | None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one tensor: slices of its leading axes, or a mask given at run time.

    Attributes
    ----------
    tensor
        A float tensor of the graph.
    slices
        One ``(start, stop, step)`` per leading axis; none: the whole tensor.
    masked
        Whether a graph input ``<source>_mask`` with floats in 0..1 says which entries count.
    """

    tensor: str
    slices: tuple[Slice, ...] = ()
    masked: bool = False

    @property
    def cuts(self) -> tuple[tuple[int, Slice], ...]:
        """The axes that are really cut, with their slices."""
        return tuple((a, s) for a, s in enumerate(self.slices) if s != (None, None, None))

    def __str__(self) -> str:
        inside = ",".join(slice_text(s) for s in self.slices)
        name = _quoted(self.tensor) if re.search(r"[\[+@\s'\"]", self.tensor) else self.tensor
        return f"{name}[{inside}]" if inside else name + "@mask" * self.masked


@dataclass(frozen=True, slots=True)
class Source:
    """A named data source: the entries of all its pieces."""

    name: str
    pieces: tuple[Piece, ...]

    def __str__(self) -> str:
        # a bare `a` in front of `+b` is quoted: there may be a tensor `a+b`
        texts = [_quoted(p.tensor) if str(p) == p.tensor else str(p) for p in self.pieces[:-1]]
        return f"{self.name}={'+'.join([*texts, str(self.pieces[-1])])}"


def parse_slices(text: str) -> tuple[Slice, ...]:
    """Read ``":,0:10"``; an index ``3`` is the slice ``3:4``."""
    found: list[Slice] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d+)?\s*(:)?\s*(-?\d+)?\s*(?::\s*(-?\d+)?)?\s*", part)
        if not match or not part.strip():
            raise OptionError(f"`[{text}]` is not a list of slices", hint="write [:,0:10]")
        start, colon, stop, step = match.groups()
        first, last = (None if v is None else int(v) for v in (start, stop))
        if colon is None and first is not None:
            found.append((first, first + 1 or None, None))
        else:
            found.append((first, last, None if step is None else int(step)))
    return tuple(found)


def parse(text: str, graph: Graph) -> Source:
    """Read ``NAME=PIECE[+PIECE...]``, PIECE = ``TENSOR``, ``TENSOR[slices]``, ``TENSOR@mask``.

    Raises
    ------
    OptionError
        No ``=``, no such tensor, no slices, something left over.
    """
    name, equals, rest = text.partition("=")
    name = name.strip()
    if not equals or not name or not rest.strip():
        raise OptionError(f"`{text}` is not NAME=TENSOR", "--source")
    try:
        return Source(name, tuple(_pieces(rest.strip(), graph)))
    except OptionError as error:
        raise error.at(f"--source {text}") from None


def _pieces(text: str, graph: Graph) -> Iterable[Piece]:
    names = sorted(graph.tensors(), key=len, reverse=True)
    while text:
        tensor, text = _tensor(text, names, graph)
        slices: tuple[Slice, ...] = ()
        masked = text.startswith("@mask")
        if masked:
            text = text.removeprefix("@mask")
        elif text.startswith("["):
            inside, closed, text = text[1:].partition("]")
            if not closed:
                raise OptionError("a `[` is not closed")
            slices = parse_slices(inside)
        yield Piece(tensor, slices, masked)
        text = text.strip()
        if text and not text.startswith("+"):
            raise OptionError(f"`{text}` is left over", hint="join pieces with +")
        if text == "+":
            raise OptionError("nothing stands behind the last +")
        text = text[1:].strip()


def _tensor(text: str, names: Sequence[str], graph: Graph) -> tuple[str, str]:
    """Return the longest tensor name that `text` starts with, and what follows."""
    quoted, closed, rest = text[1:].partition(text[0]) if text[0] in QUOTES else ("", "", "")
    if closed and quoted in names:
        return quoted, rest.strip()
    for name in names:
        rest = text[len(name) :].lstrip()
        if name and text.startswith(name) and (not rest or rest[0] in "+[@"):
            return name, rest
    wish = quoted or re.split(r"[\[@+]", text, maxsplit=1)[0].strip()
    raise OptionError(
        f"no tensor `{wish}` in {graph.prepared.loaded.name}",
        hint=nearest(wish, names) or f"inputs are: {', '.join(graph.inputs)}",
    )


def _quoted(name: str) -> str:
    """Return a name in quotes that it does not hold itself, if there are such."""
    free = next((q for q in QUOTES if q not in name), "")
    return f"{free}{name}{free}"


def slice_text(cut: Slice) -> str:
    """Return a slice as it is written."""
    start, stop, step = ("" if v is None else str(v) for v in cut)
    return f"{start}:{stop}" + (f":{step}" if step else "")
