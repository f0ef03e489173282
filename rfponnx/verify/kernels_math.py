"""Elementwise operators in NumPy, stable and to the last bits of float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rfponnx.verify.kernels_conv import Array

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969):
# numerator and denominator coefficients, highest power first, on the three intervals of |x|
_SMALL = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e00,
        1.13864154151050156e02,
        3.77485237685302021e02,
        3.20937758913846947e03,
    ),
    (
        1.0,
        2.36012909523441209e01,
        2.44024637934444173e02,
        1.28261652607737228e03,
        2.84423683343917062e03,
    ),
)
_MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e00,
        6.61191906371416295e01,
        2.98635138197400131e02,
        8.81952221241769090e02,
        1.71204761263407058e03,
        2.05107837782607147e03,
        1.23033935479799725e03,
    ),
    (
        1.0,
        1.57449261107098347e01,
        1.17693950891312499e02,
        5.37181101862009858e02,
        1.62138957456669019e03,
        3.29079923573345963e03,
        4.36261909014324716e03,
        3.43936767414372164e03,
        1.23033935480374942e03,
    ),
)
_LARGE = (
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242e00,
        1.87295284992346725e00,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)


def _ratio(terms: tuple[Sequence[float], Sequence[float]], x: Array) -> Array:
    return np.asarray(np.polyval(terms[0], x) / np.polyval(terms[1], x))


def erf(x: Array, **_: Any) -> Array:
    """Return the error function, to about 1e-16 absolute and 1e-15 relative."""
    y = np.abs(x)
    # beyond 6 the result is 1, and clipping keeps the exponentials finite
    clipped = np.clip(y, 0.46875, 6.0)
    square = clipped * clipped
    middle = _ratio(_MIDDLE, clipped)
    large = (np.pi**-0.5 - _ratio(_LARGE, 1.0 / square) / square) / clipped
    tail = 1.0 - np.where(clipped <= 4.0, middle, large) * np.exp(-square)
    near = np.minimum(y, 0.46875)
    small = x * _ratio(_SMALL, near * near)
    return np.where(np.isnan(x), x, np.where(y <= 0.46875, small, np.copysign(tail, x)))


def sigmoid(x: Array, **_: Any) -> Array:
    """Return `1 / (1 + exp(-x))`; the exponent is never positive."""
    power = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, power) / (1.0 + power))


def softplus(x: Array, **_: Any) -> Array:
    """Return `log(1 + exp(x))`."""
    return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


def softsign(x: Array, **_: Any) -> Array:
    """Return `x / (1 + |x|)`, of a scalar as well."""
    return np.asarray(x / (1.0 + np.abs(x)))


def gelu(x: Array, *, approximate: str = "none", **_: Any) -> Array:
    """Return `x Phi(x)` or its approximation by tanh."""
    if approximate == "tanh":
        return fast_gelu(x)
    return np.asarray(0.5 * x * (1.0 + erf(x * np.sqrt(0.5))))


def fast_gelu(x: Array, bias: Array | None = None, **_: Any) -> Array:
    """Return the approximation of gelu by tanh."""
    x = x if bias is None else x + bias
    return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))))


def swish(x: Array, *, alpha: float = 1.0, **_: Any) -> Array:
    """Return `x sigmoid(alpha x)`."""
    return np.asarray(x * sigmoid(alpha * x))


def quick_gelu(x: Array, *, alpha: float = 1.702, **_: Any) -> Array:
    """Return `x sigmoid(alpha x)`."""
    return swish(x, alpha=alpha)


def mish(x: Array, **_: Any) -> Array:
    """Return `x tanh(softplus(x))`."""
    return np.asarray(x * np.tanh(softplus(x)))


def hard_sigmoid(x: Array, *, alpha: float = 0.2, beta: float = 0.5, **_: Any) -> Array:
    """Return `alpha x + beta`, clipped to `[0, 1]`."""
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(x * alpha + beta, 0.0, 1.0))


def hard_swish(x: Array, **_: Any) -> Array:
    """Return `x clip(x / 6 + 1/2, 0, 1)`."""
    return np.asarray(x * np.clip(x / 6.0 + 0.5, 0.0, 1.0))


def elu(x: Array, *, alpha: float = 1.0, **_: Any) -> Array:
    """Return `x`, or `alpha (exp(x) - 1)` below zero."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def selu(
    x: Array, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805, **_: Any
) -> Array:
    """Return `gamma elu(x)`."""
    return gamma * elu(x, alpha=alpha)


def celu(x: Array, *, alpha: float = 1.0, **_: Any) -> Array:
    """Return `x`, or `alpha (exp(x / alpha) - 1)` below zero."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha))


def prelu(x: Array, slope: Array, *, since: int = 16, **_: Any) -> Array:
    """Return `x`, or `slope x` below zero; an old slope `[C]` is one per channel."""
    if since < 7 and slope.ndim == 1:
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    return np.where(x < 0, x * slope, x)


def _aligned(a: Array, b: Array, axis: int | None, broadcast: int) -> Array:
    """Reshape `b` as the attributes `axis` and `broadcast` of opset 6 ask."""
    if not broadcast or axis is None or b.ndim == 0:
        return b
    return b.reshape(*b.shape, *(1,) * (a.ndim - axis % a.ndim - b.ndim))


def add(a: Array, b: Array, *, axis: int | None = None, broadcast: int = 0, **_: Any) -> Array:
    """Return the sum."""
    return np.asarray(a + _aligned(a, b, axis, broadcast))


def subtract(a: Array, b: Array, *, axis: int | None = None, broadcast: int = 0, **_: Any) -> Array:
    """Return the difference."""
    return np.asarray(a - _aligned(a, b, axis, broadcast))


def multiply(a: Array, b: Array, *, axis: int | None = None, broadcast: int = 0, **_: Any) -> Array:
    """Return the product."""
    return np.asarray(a * _aligned(a, b, axis, broadcast))


def divide(a: Array, b: Array, *, axis: int | None = None, broadcast: int = 0, **_: Any) -> Array:
    """Return the quotient; that of integers is rounded towards zero."""
    b = _aligned(a, b, axis, broadcast)
    if np.issubdtype(a.dtype, np.floating):
        return np.asarray(a / b)
    floor = a // b
    upward = (a % b != 0) & ((a < 0) != (b < 0))
    return np.asarray((floor + upward).astype(a.dtype))


def power(a: Array, b: Array, *, axis: int | None = None, broadcast: int = 0, **_: Any) -> Array:
    """Return the power, in the type of the base."""
    b = _aligned(a, b, axis, broadcast)
    # an exponent of one value takes NumPy's exact squares and roots
    exponent = float(b.reshape(())) if b.size == 1 and b.ndim <= a.ndim else None
    if exponent in (1.0, 2.0) and np.issubdtype(a.dtype, np.floating):
        found = a * a if exponent == 2.0 else a.copy()
        return np.asarray(found.reshape(np.broadcast_shapes(a.shape, b.shape)))
    return np.asarray(np.power(a, b)).astype(a.dtype)


def dequantize(
    x: Array,
    scale: Array,
    zero: Array | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    **_: Any,
) -> Array:
    """Return `(x - zero) scale` in double."""
    y = x.astype(np.float64)
    if zero is not None:
        y = y - _spread(zero.astype(np.float64), x, axis, block_size)
    return np.asarray(y * _spread(scale.astype(np.float64), x, axis, block_size))


def _spread(v: Array, x: Array, axis: int, block: int) -> Array:
    """Return the value per tensor, per entry of `axis` or per block so that it broadcasts."""
    if v.size == 1 and v.ndim <= 1:
        return v.reshape(())
    if block:
        repeated = np.repeat(v, block, axis=axis)
        return np.take(repeated, np.arange(x.shape[axis]), axis=axis)
    shape = [1] * x.ndim
    shape[axis] = -1
    return v.reshape(shape)


def dynamic_quantize(x: Array, **_: Any) -> tuple[Array, Array, Array]:
    """Return the uint8 values, the scale and the zero point that span zero and the range."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = (high - low) / 255.0 or 1.0
    zero = np.clip(np.rint(-low / scale), 0, 255)
    y = np.clip(np.rint(x / scale) + zero, 0, 255)
    return y.astype(np.uint8), np.asarray(scale), np.asarray(zero, np.uint8)
