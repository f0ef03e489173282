"""Operators of the domain ai.onnx.ml that exporters put before and after a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rfponnx.maps.base import Map, then
from rfponnx.maps.contract import Einsum
from rfponnx.maps.expr import (
    Expr,
    absolute,
    applied,
    array,
    choose,
    number,
)
from rfponnx.maps.gain import Gain
from rfponnx.maps.softmax import SoftmaxTangent
from rfponnx.ops.normalise import by_norm
from rfponnx.ops.op import At, Linearisation, Op

ML = "ai.onnx.ml"

#: Derivatives of the functions that a classifier applies to its scores.
TANGENTS: dict[str, Callable[[At], Map]] = {
    "LOGISTIC": lambda at: Gain(at.vy * (1 - at.vy), at.y, at.y),
    "SOFTMAX": lambda at: SoftmaxTangent(1, at.y),
}


def scaler(at: At) -> Linearisation:
    """``y = (x - offset) scale``, feature by feature."""
    scale, offset = row(at, "scale"), row(at, "offset")
    return at.gated(scale, offset=-offset * scale, affine=True)


def row(at: At, attribute: str) -> Expr:
    """Return a list of numbers, one per feature or one for all."""
    values: Sequence[float] = at.attr(attribute) or [1.0 if attribute == "scale" else 0.0]
    return array(np.asarray(values)) if len(values) > 1 else number(float(values[0]))


def normalizer(at: At) -> Linearisation:
    """``y = x / norm of the row``, the norm released; 0 where it is 0."""
    kind = at.attr("norm", "MAX")
    if kind not in ("L1", "L2"):
        raise at.refuse(f"the norm {kind} has no linearisation")
    return by_norm(at, at.rank(at.x) - 1, int(kind[1]))


def linear_regressor(at: At) -> Linearisation:
    """``y = x W + b``."""
    if at.attr("post_transform", "NONE") != "NONE":
        raise at.refuse("it applies a function to its scores")
    form, offset = scores(at, int(at.attr("targets", 1)))
    return at.linear(form, offset=offset, affine=True)


def linear_classifier(at: At) -> Linearisation:
    """``y = f(x W + b)``; a function f of the scores by its tangent or their ratio."""
    labels = at.attr("classlabels_ints") or at.attr("classlabels_strings") or ()
    form, offset = scores(at, len(labels))
    function = at.attr("post_transform", "NONE")
    if function == "NONE":
        return at.linear(form, offset=offset, affine=True)
    if at.numbers.kind == "taylor" and function in TANGENTS:
        return at.linear(then(form, TANGENTS[function](at)), offset="rest")
    if at.full:
        raise at.refuse(f"its {function} has no tangent")
    z = applied("Einsum", at.vx, *form.others, equation="ij,kj->ik")
    z = z if offset is None else z + offset
    counts = absolute(z) > at.numbers.eps
    gain = choose(counts, at.vy / choose(counts, z, number(1.0)), number(0.0))
    return at.linear(then(form, Gain(gain, at.y, at.y)), offset="rest", tangent=False)


def scores(at: At, count: int) -> tuple[Einsum, Expr | None]:
    """Return ``x W`` and b, of weights that the node holds as attributes."""
    coefficients, intercepts = np.asarray(at.attr("coefficients")), at.attr("intercepts")
    if intercepts and len(intercepts) != count:
        raise at.refuse("it has fewer scores than labels")
    weights = array(coefficients.reshape(count, -1))
    offset = array(np.asarray(intercepts)) if intercepts else None
    return Einsum(("ij", "kj"), "ik", 0, (weights,), at.x, at.y), offset


OPS = (
    Op("Scaler", "linear", scaler, "y = (x - offset) scale", domain=ML),
    Op("Normalizer", "normalisation", normalizer, "y = x / norm, norm released", domain=ML),
    Op("LinearRegressor", "linear", linear_regressor, "y = x W + b", domain=ML),
    Op("LinearClassifier", "linear", linear_classifier, "scores = x W + b", domain=ML),
)
