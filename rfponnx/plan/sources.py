"""Sources: which entries of which tensors belong to whom (DESIGN 3, [RFP] Def. 1)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, ValueInfoProto, helper

from rfponnx.errors import OptionError, nearest
from rfponnx.graph.graph import Graph
from rfponnx.plan.spec import Piece, Slice, Source, slice_text

BIAS = "bias"
LARGE = 2**16  # a size for an axis that may have any


@dataclass(frozen=True, slots=True)
class Masks:
    """Sources whose number is known at run time only: the input ``<tensor>_masks`` [S, ...]."""

    tensor: str


def default_sources(
    graph: Graph, inputs: Iterable[str]
) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """Return every float input, and for an integer input the first float tensor made from it.

    Integers that only steer what is done with the floats of other sources are none.
    """
    names = tuple(filter(None, inputs))  # what has no name feeds nothing
    found = {name: name for name in names if graph.is_float(name)}
    owned = _reach(graph, found)
    notes, waiting = [], [name for name in names if name not in found]
    while made := {n: t for n in waiting if (t := first_float(graph, n, owned)) is not None}:
        # the earliest first: what is made from it is not made from another one
        name = min(made, key=lambda n: _place(graph, made[n]))
        found[name] = made[name]
        owned |= _reach(graph, [made[name]])
        waiting.remove(name)
        notes.append(f"`{name}` holds integers: its source is `{made[name]}`, made from it")
    notes += (f"`{name}` holds no floats and none are made from it alone" for name in waiting)
    sources = (Source(_free(n), (Piece(found[n]),)) for n in names if n in found)
    return tuple(sources), tuple(notes)


def _free(name: str) -> str:
    """Return a name for a source called after an input."""
    return f"{name}_2" if name == BIAS else name


def _reach(graph: Graph, tensors: Iterable[str]) -> set[str]:
    """Return some tensors and all that is computed from them."""
    return {t for name in tensors for t in (name, *_downstream(graph, name, floats=None))}


def _place(graph: Graph, tensor: str) -> int:
    node = graph.producer(tensor)
    return node.index if node is not None else -1


def first_float(graph: Graph, name: str, owned: Container[str] = ()) -> str | None:
    """Return the first float tensor made from an integer one (by Cast, Gather, ...).

    One that only steers a comparison leads nowhere; one from which floats lead to an output is
    preferred.  Those that are `owned` by others do not count.
    """
    made = [
        t for t in _downstream(graph, name, floats=False) if graph.is_float(t) and t not in owned
    ]
    ends = set(graph.outputs)
    leading = (t for t in made if not ends.isdisjoint({t, *_downstream(graph, t, floats=True)}))
    return next(leading, made[0] if made else None)


def _downstream(graph: Graph, name: str, *, floats: bool | None) -> list[str]:
    """Return what is computed from a tensor, nearest first.

    With `floats`, through float tensors only; without, through all others, up to the first
    floats; for ``None`` through everything.
    """
    seen, queue, found = {name}, [name], []
    while queue:
        for node in graph.consumers(queue.pop(0)):
            outs = [o for o in node.outputs if o and o not in seen]
            if node.op in ("Shape", "Size"):
                continue
            seen.update(outs)
            found += outs
            queue += [o for o in outs if floats is None or graph.is_float(o) == floats]
    return found


def check(sources: Sequence[Source], graph: Graph) -> tuple[Source, ...]:
    """Refuse what cannot be a source; return the sources with slices of known extent.

    Raises
    ------
    OptionError
        A name used twice or reserved, a tensor that is no float tensor or a weight, an empty
        or out-of-range slice, too many axes, entries that two sources own.
    """
    names = [s.name for s in sources]
    for name in names:
        if names.count(name) > 1 or name == BIAS:
            why = "is the name of the last row" if name == BIAS else "is given twice"
            raise OptionError(f"the source name `{name}` {why}", "--source", "choose another")
    for source in sources:
        try:
            for piece in source.pieces:
                _check_piece(piece, graph)
            _check_mask(source, graph)
        except OptionError as error:
            raise error.at(f"--source {source}") from None
    _check_overlap(sources, graph)
    return tuple(sources)


def check_masks(masks: Masks, graph: Graph) -> None:
    """Refuse masks of a tensor that cannot be a source, and a name that the model uses."""
    check_tensor(masks.tensor, graph)
    if graph.rank(masks.tensor) is None:
        raise OptionError(f"the rank of `{masks.tensor}` is not known", hint="name another tensor")
    name = masks_input(masks.tensor)
    if name in graph.tensors():
        raise OptionError(f"the model has a tensor `{name}`", hint="rename it, or use --source")


def check_tensor(tensor: str, graph: Graph) -> None:
    """Refuse a tensor whose entries cannot belong to a source."""
    if tensor not in graph.tensors():
        hint = nearest(tensor, graph.tensors())
        raise OptionError(f"no tensor `{tensor}` in {graph.prepared.loaded.name}", hint=hint)
    if graph.is_constant(tensor):
        raise OptionError(f"`{tensor}` is a weight, not data", hint="name an input")
    if not graph.is_float(tensor):
        made = first_float(graph, tensor)
        hint = f"use `{made}`, the float tensor made from it" if made else "use a float tensor"
        raise OptionError(f"`{tensor}` does not hold floats and carries no relevance", hint=hint)


def _check_piece(piece: Piece, graph: Graph) -> None:
    check_tensor(piece.tensor, graph)
    shape = graph.shape(piece.tensor)
    if shape is None:
        if piece.slices or piece.masked:
            what = "mask" if piece.masked else "slices"
            raise OptionError(f"the rank of `{piece.tensor}` is not known, so it takes no {what}")
        return
    if len(piece.slices) > len(shape):
        raise OptionError(f"`{piece.tensor}` has {len(shape)} axes", hint="give fewer slices")
    for axis, cut in piece.cuts:
        size = shape[axis]
        if cut[2] == 0:
            raise OptionError(f"the slice {slice_text(cut)} has step 0")
        if isinstance(size, int):
            _check_range(cut, axis, size)
        elif _always_empty(cut):
            raise OptionError(f"the slice {slice_text(cut)} of axis {axis} is empty")


def _check_range(cut: Slice, axis: int, size: int) -> None:
    ends = [v for v in cut[:2] if v is not None]
    if any(v > size or v < -size for v in ends):
        raise OptionError(
            f"the slice {slice_text(cut)} is out of range: axis {axis} has size {size}"
        )
    if not range(*slice(*cut).indices(size)):
        raise OptionError(f"the slice {slice_text(cut)} of axis {axis} (size {size}) is empty")


def _always_empty(cut: Slice) -> bool:
    """Tell whether a slice takes nothing of an axis, however long that is."""
    far = 2 * max(abs(v or 0) for v in cut[:2]) + 1
    return not any(range(*slice(*cut).indices(size)) for size in (far // 2, far))


def _check_mask(source: Source, graph: Graph) -> None:
    """Refuse more than one mask, and one whose name the model uses."""
    count = sum(p.masked for p in source.pieces)
    if count > 1:
        raise OptionError(f"{count} pieces have a mask", hint="give each a source of its own")
    name = mask_input(source.name)
    if count and name in graph.tensors():
        raise OptionError(f"the model has a tensor `{name}`", hint="choose another source name")


def mask_input(source: str) -> str:
    """Return the name of the graph input with a source's run-time mask."""
    return f"{source}_mask"


def masks_input(tensor: str) -> str:
    """Return the name of the graph input with the run-time masks of all sources."""
    return f"{tensor}_masks"


def _check_overlap(sources: Sequence[Source], graph: Graph) -> None:
    owned: dict[str, list[tuple[str, Piece]]] = {}
    for source in sources:
        for piece in source.pieces:
            for name, other in owned.get(piece.tensor, []):
                if _meet(piece, other, graph):
                    raise OptionError(
                        f"`{other}` of `{name}` and `{piece}` of `{source.name}` overlap",
                        "--source", "give every entry to one source",
                    )  # fmt: skip
            owned.setdefault(piece.tensor, []).append((source.name, piece))


def _meet(a: Piece, b: Piece, graph: Graph) -> bool:
    """Tell whether two pieces share entries; where a size is unknown, at a large one.

    What a mask takes is known at run time only, but nothing is left beside the whole tensor.
    """
    if a.masked or b.masked:
        return any(not p.cuts and not p.masked for p in (a, b))
    shape = graph.shape(a.tensor) or ()
    for axis in range(max(len(a.slices), len(b.slices))):
        size = shape[axis]
        length = size if isinstance(size, int) else LARGE
        if not np.any(mask_of(a, axis, length) & mask_of(b, axis, length)):
            return False
    return True


def mask_of(piece: Piece, axis: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which positions along an axis a piece takes."""
    mask = np.zeros(size, bool)
    cut = piece.slices[axis] if axis < len(piece.slices) else (None, None, None)
    mask[slice(*cut)] = True
    return mask


def leaves_rest(pieces: Sequence[Piece], graph: Graph) -> bool:
    """Tell whether entries of a tensor may be left that none of its pieces owns.

    Sound in one direction: False only where the pieces are known to cover everything.
    """
    if any(not p.cuts and not p.masked for p in pieces):
        return False
    axes = {axis for p in pieces for axis, _ in p.cuts}
    shape = graph.shape(pieces[0].tensor) or ()
    if any(p.masked for p in pieces) or len(axes) != 1:
        return True
    axis = axes.pop()
    size = shape[axis]
    if not isinstance(size, int):
        return True
    covered = np.any([mask_of(p, axis, size) for p in pieces], axis=0)
    return not bool(covered.all())


def by_tensor(sources: Sequence[Source]) -> Mapping[str, list[tuple[int, Piece]]]:
    """Return the pieces on each tensor with the index of their source."""
    found: dict[str, list[tuple[int, Piece]]] = {}
    for index, source in enumerate(sources):
        for piece in source.pieces:
            found.setdefault(piece.tensor, []).append((index, piece))
    return found


def declared_masks(
    graph: Graph, sources: Sequence[Source], masks: Masks | None
) -> Iterator[ValueInfoProto]:
    """Yield the graph inputs that run-time masks come in by; every size is free."""
    wanted = [
        (mask_input(source.name), piece.tensor, 0)
        for source in sources
        for piece in source.pieces
        if piece.masked
    ]
    if masks is not None:
        wanted.append((masks_input(masks.tensor), masks.tensor, 1))
    for name, tensor, lead in dict.fromkeys(wanted):
        rank = len(graph.shape(tensor) or ()) + lead
        dtype = graph.dtype(tensor) or TensorProto.FLOAT
        free = [f"{name}_{axis}" for axis in range(rank)]
        yield helper.make_tensor_value_info(name, dtype, free)
