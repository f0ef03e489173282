"""Patterns in place of weights: PatternNet and PatternAttribution ([LIE] eq. 9-11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rfponnx.errors import OptionError
from rfponnx.maps.base import Identity
from rfponnx.maps.expr import array
from rfponnx.ops.op import Linearisation, Term
from rfponnx.plan.facts import Facts
from rfponnx.plan.merge import Found, weight_of

WHERE = "--set patterns"


def read_patterns(path: object) -> Mapping[str, npt.NDArray[np.floating]]:
    """Return what `rfponnx fit-patterns` wrote: arrays by the names of weights.

    Raises
    ------
    OptionError
        None is given, or it cannot be read.
    """
    if path is None:
        raise OptionError("no patterns", WHERE, "make them with `rfponnx fit-patterns MODEL DATA`")
    try:
        with np.load(Path(str(path)), allow_pickle=False) as found:
            return {name: np.asarray(found[name]) for name in found.files}
    except (OSError, ValueError, AttributeError) as error:
        raise OptionError(f"`{path}` cannot be read: {error}", WHERE) from None


def patterned(
    facts: Facts,
    order: Sequence[Found],
    patterns: Mapping[str, npt.NDArray[np.floating]],
    *,
    times_weight: bool,
    masked: bool,
) -> tuple[list[Found], list[str]]:
    """Return the steps with patterns (times the weights), and what to say of them.

    Parameters
    ----------
    masked
        Whether a Relu masks; else it passes everything.

    Raises
    ------
    OptionError
        No layer has a pattern, or one does not have the shape of its weights.
    """
    steps: list[Found] = []
    without: list[str] = []
    used = 0
    for node, y, made in order:
        if node.op == "Relu" and not masked:
            steps.append((node, y, Linearisation((Term(made.terms[0].x, Identity()),))))
            continue
        weight = weight_of(made.terms[0].map) if len(made.terms) == 1 else None
        names = [] if weight is None else [t for t in sorted(weight.tensors) if t in patterns]
        if weight is None or not facts.fixed(weight.tensors):
            steps.append((node, y, made))
            continue
        if not names:
            without.append(node.label)
            steps.append((node, y, made))
            continue
        pattern, shape = patterns[names[0]], facts.graph.shape(names[0])
        if tuple(pattern.shape) != tuple(shape or ()):
            what = f"the pattern of `{names[0]}` is {pattern.shape}, its weights are {shape}"
            raise OptionError(what, WHERE)
        value = array(pattern)
        form = replace(made.terms[0].map, weight=weight * value if times_weight else value)  # type: ignore[type-var]
        steps.append((node, y, replace(made, terms=(Term(made.terms[0].x, form),))))
        used += 1
    if not used:
        raise OptionError("no layer has a pattern", WHERE, "fit them on this model")
    notes = [f"without a pattern, by its weights: {', '.join(without)}"] if without else []
    return steps, notes
