"""The Python interface: what the command line does, as functions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import onnx

from rfponnx.methods.convert import Converted
from rfponnx.methods.convert import convert as _convert
from rfponnx.plan.options import Options, patterns

Model = str | os.PathLike[str] | bytes | onnx.ModelProto


def convert(
    model: Model,
    method: str = "rfp",
    sources: Mapping[str, str] | Sequence[str] | None = None,
    *,
    source_masks: str | None = None,
    linearisation: str | Sequence[str] = "weighted",
    bias: str = "separate",
    release: Sequence[str] = (),
    layout: str = "auto",
    readout: str = "all",
    explain: str | Sequence[str] = (),
    class_axis: int | None = None,
    set: Mapping[str, float] | None = None,
) -> Converted:
    """Return the relevance graph of a model: the same prediction, and relevances beside it.

    Parameters
    ----------
    model
        A path, the bytes of a file, or a ModelProto.
    method
        ``rfp``, relevance forward propagation.
    sources
        Name to piece, ``{"sar": "image[:,10:12]"}``; without any, every input is a source.
    source_masks
        A tensor whose sources are given at run time, as masks ``<tensor>_masks`` [S, ...].
    linearisation
        ``weighted``, ``ratio`` or ``taylor``, for all nodes or as ``PATTERN=NAME``.
    bias
        ``separate``, ``explicit``, ``split`` or ``split_signed``.
    release
        ``PATTERN=left|right|split|none``: which factor of a product is a constant.
    layout
        ``auto``, ``separate`` or ``stacked``; the results are the same.
    readout
        ``all`` classes or the ``predicted`` one.
    explain
        Tensors to explain instead of the outputs.
    class_axis
        The axis of the classes, where it is not found right.
    set
        Numbers of the method: ``eps``, ``shift``.

    Raises
    ------
    RfpError
        One line: what is wrong, where, what to do.
    """
    kinds = (linearisation,) if isinstance(linearisation, str) else tuple(linearisation)
    options = Options(
        bias=bias,
        layout=layout,
        readout=readout,
        linearisation=patterns("--linearisation", kinds, plain=True),
        release=patterns("--release", tuple(release), plain=False),
        explain=(explain,) if isinstance(explain, str) else tuple(explain),
        class_axis=class_axis,
        numbers=dict(set or {}),
    )
    return _convert(model, method, sources, source_masks, options)
