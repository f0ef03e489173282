"""Damage model files: conversion must either work or give one clear error.

    python tools/fuzz.py [--seconds 60] [--seed 0] [--keep FOLDER]

Bytes are flipped, cut, repeated; nodes are dropped, swapped, renamed, given wrong attributes.
Anything raised that is not an `RfpError` is a finding: the damaged file is kept and its seed is
printed.  A crash of the interpreter leaves the file `current.onnx` in the same folder.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parent.parent
Rng = np.random.Generator
WORDS = ("", "nowhere", "input", "Relu", "Conv", "NoSuchOp", "a/b:c.d", "\u00e9", "x" * 300)


def flip(data: bytearray, rng: Rng) -> None:
    """Change some bytes."""
    for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
        data[place] = int(rng.integers(0, 256))


def cut(data: bytearray, rng: Rng) -> None:
    """Truncate."""
    del data[int(rng.integers(0, len(data))) :]


def repeat(data: bytearray, rng: Rng) -> None:
    """Insert a piece of the file once more."""
    first, last = sorted(int(v) for v in rng.integers(0, min(len(data), 4096), 2))
    data[first:first] = data[first:last]


def drop_node(model: onnx.ModelProto, rng: Rng) -> None:
    """Remove a node."""
    del model.graph.node[int(rng.integers(len(model.graph.node)))]


def rename(model: onnx.ModelProto, rng: Rng) -> None:
    """Give one operand of a node another name."""
    node = pick(model, rng)
    field = node.input if rng.random() < 0.7 and node.input else node.output
    if field:
        field[int(rng.integers(len(field)))] = str(rng.choice(WORDS))


def change_operator(model: onnx.ModelProto, rng: Rng) -> None:
    """Make a node another operator, or move it to another domain."""
    node = pick(model, rng)
    if rng.random() < 0.3:
        node.domain = "com.example"
    else:
        node.op_type = str(rng.choice([*WORDS, pick(model, rng).op_type]))


def change_attribute(model: onnx.ModelProto, rng: Rng) -> None:
    """Remove, shorten or falsify an attribute."""
    node = pick(model, rng)
    if not node.attribute:
        return
    index = int(rng.integers(len(node.attribute)))
    attribute = node.attribute[index]
    if rng.random() < 0.3:
        del node.attribute[index]
    elif attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = int(rng.integers(-3, 9))
        del attribute.ints[int(rng.integers(1, len(attribute.ints) + 1)) :]
    else:
        attribute.i, attribute.f = int(rng.integers(-5, 99)), float(rng.choice([0, -1, np.nan]))


def shuffle(model: onnx.ModelProto, rng: Rng) -> None:
    """Exchange two nodes."""
    one, other = pick(model, rng), pick(model, rng)
    copy = onnx.NodeProto()
    copy.CopyFrom(one)
    one.CopyFrom(other)
    other.CopyFrom(copy)


def change_shape(model: onnx.ModelProto, rng: Rng) -> None:
    """Falsify the declared shape or type of an input, an output or a weight."""
    graph = model.graph
    if rng.random() < 0.4 and graph.initializer:
        tensor = graph.initializer[int(rng.integers(len(graph.initializer)))]
        if tensor.dims:
            tensor.dims[0] = int(rng.integers(-1, 5))
        return
    ends = [*graph.input, *graph.output]
    kind = ends[int(rng.integers(len(ends)))].type.tensor_type
    if rng.random() < 0.4:
        kind.elem_type = int(rng.integers(0, 25))
    elif kind.shape.dim:
        kind.shape.dim[int(rng.integers(len(kind.shape.dim)))].dim_value = int(rng.integers(-2, 9))


def change_version(model: onnx.ModelProto, rng: Rng) -> None:
    """Claim another opset or format version."""
    if rng.random() < 0.5 and model.opset_import:
        model.opset_import[0].version = int(rng.integers(-1, 99))
    else:
        model.ir_version = int(rng.integers(0, 99))


def pick(model: onnx.ModelProto, rng: Rng) -> onnx.NodeProto:
    """Return some node."""
    node: onnx.NodeProto = model.graph.node[int(rng.integers(len(model.graph.node)))]
    return node


ON_BYTES: tuple[Callable[[bytearray, Rng], None], ...] = (flip, cut, repeat)
ON_GRAPHS: tuple[Callable[[onnx.ModelProto, Rng], None], ...] = (
    drop_node,
    rename,
    change_operator,
    change_attribute,
    shuffle,
    change_shape,
    change_version,
)


def damage(data: bytes, rng: Rng) -> bytes:
    """Return a damaged copy of a model file."""
    if rng.random() < 0.25:
        raw = bytearray(data)
        ON_BYTES[int(rng.integers(len(ON_BYTES)))](raw, rng)
        return bytes(raw)
    model = onnx.load_model_from_string(data)
    for _ in range(int(rng.integers(1, 4))):
        if model.graph.node:
            ON_GRAPHS[int(rng.integers(len(ON_GRAPHS)))](model, rng)
    return bytes(model.SerializeToString())


def attempt(path: Path) -> str:
    """Convert one file; return the kind of answer, or let a finding escape."""
    import rfponnx
    from rfponnx.errors import RfpError

    try:
        rfponnx.convert(path).save(path.with_suffix(".out"), force=True)
    except RfpError as error:
        return type(error).__name__
    return "converted"


def main() -> int:
    """Fuzz for the given time; exit 1 if there is a finding."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz")
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    models = [p.read_bytes() for p in sorted((ROOT / "fixtures").glob("*.onnx"))]
    answers: Counter[str] = Counter()
    end, seed = time.monotonic() + args.seconds, args.seed
    while time.monotonic() < end:
        path = args.keep / "current.onnx"
        rng = np.random.default_rng(seed)
        path.write_bytes(damage(models[seed % len(models)], rng))
        try:
            answers[attempt(path)] += 1
        except Exception as error:  # this is what we are looking for
            answers["FINDING"] += 1
            kept = path.rename(args.keep / f"finding_{seed}.onnx")
            print(f"seed {seed}: {type(error).__name__}: {error} ({kept.name})", flush=True)
        seed += 1
    print(", ".join(f"{count} {answer}" for answer, count in answers.most_common()))
    return 1 if answers["FINDING"] else 0


if __name__ == "__main__":
    sys.exit(main())
