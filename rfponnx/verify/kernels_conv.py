"""Convolutions in NumPy: im2col and one matrix product per group, any rank."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from rfponnx.errors import ModelError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over the spatial axes `[*D]` and yields `[*O]`.

    All tuples have one entry per spatial axis.  `begin` and `end` are the declared
    pads; `extra` is what ceil mode reads beyond them at the end.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def extra(self) -> tuple[int, ...]:
        """Positions needed after the end pads."""
        need = [(o - 1) * s + r for o, s, r in zip(self.out, self.strides, self.reach, strict=True)]
        have = [b + n + e for b, n, e in zip(self.begin, self.size, self.end, strict=True)]
        return tuple(max(0, n - h) for n, h in zip(need, have, strict=True))

    @property
    def reach(self) -> tuple[int, ...]:
        """Extent of the dilated kernel."""
        return _reach(self.kernel, self.dilations)

    def pad(self, x: Array, value: float) -> Array:
        """Return `x [..., *D]` with the pads filled with `value`."""
        spatial = [(b, e + m) for b, e, m in zip(self.begin, self.end, self.extra, strict=True)]
        if not any(b or e for b, e in spatial):
            return x
        widths = [(0, 0)] * (x.ndim - len(spatial)) + [(max(b, 0), max(e, 0)) for b, e in spatial]
        padded = np.pad(x, widths, constant_values=value)
        crop: list[Any] = [
            slice(max(-b, 0), n - max(-e, 0))
            for (b, e), n in zip(spatial, padded.shape[-len(spatial) :], strict=True)
        ]
        return padded[..., *crop]

    def taps(self) -> Iterator[tuple[Any, ...]]:
        """Yield the slices of the padded input that each kernel position reads, row-major."""
        for tap in product(*map(range, self.kernel)):
            starts = [t * d for t, d in zip(tap, self.dilations, strict=True)]
            reads = [
                slice(a, a + (o - 1) * s + 1, s)
                for a, o, s in zip(starts, self.out, self.strides, strict=True)
            ]
            yield (..., *reads)

    def view(self, padded: Array) -> Array:
        """Return the windows `[..., *K, *O]` of a padded array, without a copy."""
        lead, strides = padded.shape[: -len(self.size)], padded.strides
        spatial = strides[len(lead) :]
        return np.lib.stride_tricks.as_strided(
            padded,
            (*lead, *self.kernel, *self.out),
            (
                *strides[: len(lead)],
                *(a * d for a, d in zip(spatial, self.dilations, strict=True)),
                *(a * s for a, s in zip(spatial, self.strides, strict=True)),
            ),
            writeable=False,
        )


def _reach(kernel: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))


def window(
    size: Sequence[int],
    kernel: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> Window:
    """Return the window that the attributes of a Conv or pool describe."""
    rank = len(size)
    steps = tuple(strides or (1,) * rank)
    spread = tuple(dilations or (1,) * rank)
    reach = _reach(kernel, spread)
    begin, end = _pads(size, reach, steps, pads, auto_pad)
    out = []
    for axis in range(rank):
        room = size[axis] + begin[axis] + end[axis] - reach[axis]
        # an input a little smaller than a pool still has one window, as in ONNX Runtime
        whole = room // steps[axis] if room >= 0 else -(-room // steps[axis])
        count = (-(-room // steps[axis]) if ceil_mode else whole) + 1
        if ceil_mode and (count - 1) * steps[axis] >= size[axis] + begin[axis]:
            count -= 1  # a window that starts in the end padding is dropped
        out.append(count)
    if min(out, default=1) < 0:
        raise ModelError(f"kernel {list(kernel)} does not fit in {list(size)}")
    return Window(tuple(size), tuple(kernel), steps, spread, begin, end, tuple(out))


def _pads(
    size: Sequence[int],
    reach: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int] | None,
    auto_pad: str,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(size)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max(0, (-(-n // s) - 1) * s + r - n)
            for n, s, r in zip(size, strides, reach, strict=True)
        ]
        return _halve(total, more_at_end=auto_pad == "SAME_UPPER")
    if auto_pad == "VALID" or not pads:
        return (0,) * rank, (0,) * rank
    return tuple(pads[:rank]), tuple(pads[rank:])


def _halve(total: Sequence[int], *, more_at_end: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (small, large) if more_at_end else (large, small)


def conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    group: int = 1,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    **_: Any,
) -> Array:
    """Cross-correlate `x [N, C, *D]` with `w [M, C / group, *K]`."""
    frame = window(
        x.shape[2:], w.shape[2:], strides=strides, dilations=dilations, pads=pads, auto_pad=auto_pad
    )
    padded = frame.pad(x, 0.0)
    apply = _depthwise if w.shape[1] == 1 and group > 1 else _grouped
    y = apply(padded, w, group, frame)
    return y if b is None else y + b.reshape(-1, *(1,) * len(frame.size))


def _grouped(padded: Array, w: Array, group: int, frame: Window) -> Array:
    n, m = len(padded), len(w)
    rows = w[0].size
    left = w.reshape(group, m // group, rows)
    y = np.empty((n, m, *frame.out), np.result_type(padded, w))
    # one sample at a time bounds the memory of the unfolded input
    for sample, target in zip(padded, y, strict=True):
        columns = frame.view(sample).reshape(group, rows, -1)
        np.matmul(left, columns, out=target.reshape(group, m // group, -1))
    return y


def _depthwise(padded: Array, w: Array, group: int, frame: Window) -> Array:
    n, m = len(padded), len(w)
    source = padded[:, :, None]
    weights = w.reshape(group, m // group, -1, *(1,) * len(frame.size))
    y = np.zeros((n, group, m // group, *frame.out), np.result_type(padded, w))
    for i, where in enumerate(frame.taps()):
        y += source[where] * weights[:, :, i]
    return y.reshape(n, m, *frame.out)


def conv_transpose(  # noqa: PLR0913 (the standard's attributes)
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    group: int = 1,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
    **_: Any,
) -> Array:
    """Apply the adjoint of a convolution to `x [N, C, *D]`, `w [C, M / group, *K]`."""
    size, kernel = x.shape[2:], w.shape[2:]
    rank = len(size)
    steps, spread = tuple(strides or (1,) * rank), tuple(dilations or (1,) * rank)
    more = tuple(output_padding or (0,) * rank)
    reach = _reach(kernel, spread)
    full = tuple(s * (n - 1) + a + r for n, s, a, r in zip(size, steps, more, reach, strict=True))
    begin, out = _transposed_frame(size, steps, full, pads, output_shape, auto_pad)
    room = tuple(max(f, a + o) for f, a, o in zip(full, begin, out, strict=True))
    frame = Window(room, tuple(kernel), steps, spread, (0,) * rank, (0,) * rank, tuple(size))
    y = _fold(x, w, group, frame)
    crop: tuple[Any, ...] = tuple(slice(a, a + o) for a, o in zip(begin, out, strict=True))
    y = y[..., *crop]
    return np.ascontiguousarray(y) if b is None else y + b.reshape(-1, *(1,) * rank)


def _transposed_frame(
    size: Sequence[int],
    strides: Sequence[int],
    full: Sequence[int],
    pads: Sequence[int] | None,
    output_shape: Sequence[int] | None,
    auto_pad: str,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the cropped begin and the output size."""
    rank = len(size)
    out = None
    if output_shape:
        out = tuple(output_shape[-rank:])
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        out = tuple(n * s for n, s in zip(size, strides, strict=True))
    if out is not None:
        total = [max(0, f - o) for f, o in zip(full, out, strict=True)]
        return _halve(total, more_at_end=auto_pad == "SAME_UPPER")[0], out
    both = (0,) * 2 * rank if auto_pad == "VALID" or not pads else tuple(pads)
    begin, end = both[:rank], both[rank:]
    return begin, tuple(f - a - e for f, a, e in zip(full, begin, end, strict=True))


def _fold(x: Array, w: Array, group: int, frame: Window) -> Array:
    n, c = x.shape[:2]
    m = w.shape[1]
    left = w.reshape(group, c // group, -1).transpose(0, 2, 1)
    columns = np.matmul(left, x.reshape(n, group, c // group, -1))
    columns = columns.reshape(n, group * m, -1, *frame.out)
    y = np.zeros((n, group * m, *frame.size), columns.dtype)
    for i, where in enumerate(frame.taps()):
        y[where] += columns[:, :, i]
    return y
