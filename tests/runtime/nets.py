"""Models of a few nodes, written as text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnx.parser

import rfponnx

HEAD = '<ir_version: 9, opset_import: ["": 17]>\n'

#: Two sources, three classes, positions: a pixelwise classifier.
PIXELS = """
pixels (float[N, 3, H, W] image) => (float[N, 3, H, W] scores) {
  y = Relu(image)
  half = Constant<value = float {0.5}>()
  scores = Add(y, half)
}
"""
#: One input, a free batch, three classes, probabilities at the end.
DENSE = """
dense (float[N, 2] x) => (float[N, 3] chances)
<float[2, 3] w = {1.0, -1.0, 0.5, 0.25, 2.0, -0.5}, float[3] b = {0.1, -0.2, 0.3}> {
  z = MatMul(x, w)
  scores = Add(z, b)
  chances = Softmax<axis = -1>(scores)
}
"""
#: A fixed batch of one.
FIXED = """
fixed (float[1, 2] x) => (float[1, 2] y) { y = Relu(x) }
"""
#: The samples mix: a batch cannot be cut.
MIXED = """
mixed (float[N, 2] x) => (float[2] y) { y = ReduceMean<axes = [0], keepdims = 0>(x) }
"""
#: Two inputs whose batch has to agree.
PAIR = """
pair (float[N, 2] a, float[N, 2] b) => (float[N, 2] y) { y = Add(a, b) }
"""
#: Text and numbers.
WORDS = """
words (string[N] word, float[N] x) => (string[N] same, float[N] y) {
  same = Identity(word)
  y = Relu(x)
}
"""
#: Pictures of three channels, last; and of 8 bits.
LAST = """
last (float[N, 4, 6, 3] image) => (float[N, 4, 6, 3] y) { y = Relu(image) }
"""
BYTES = """
bytes (uint8[N, 3, 4, 6] image) => (float[N, 3, 4, 6] y) { y = Cast<to = 1>(image) }
"""


#: Leaves the range of its numbers.
DOUBLED = """
doubled (float[N, 3, H, W] image) => (float[N, 3, H, W] y) { y = Add(image, image) }
"""


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(HEAD + text)


def save(text: str, path: Path) -> Path:
    onnx.save(model(text), path)
    return path


def converted(text: str, **options: Any) -> onnx.ModelProto:
    return rfponnx.convert(model(text), **options).model
