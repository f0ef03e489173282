"""Arrays that do and do not fit an input."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from rfponnx.errors import InputError
from rfponnx.runtime.ports import Port, checked, port, shape_text

IMAGE = Port("image", "float32", ("N", 3, 4))
CODES = Port("codes", "int64", (None,))
PORTS = (IMAGE, CODES)


def feeds(image: Any = None, codes: Any = None, **more: Any) -> dict[str, Any]:
    good = {"image": np.zeros((2, 3, 4), np.float32), "codes": np.zeros(2, np.int64)}
    return good | {
        k: v for k, v in {"image": image, "codes": codes, **more}.items() if v is not None
    }


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


WRONG = (
    ("unknown name", feeds(imgae=zeros(1)), "no input `imgae`; did you mean `image`"),
    ("unknown, nothing near", feeds(q=zeros(1)), r"inputs are: `image` \(float32 \[N, 3, 4\]\)"),
    ("float64", feeds(image=np.zeros((2, 3, 4))), "`image`: expected float32, got float64; .*asty"),
    ("int32", feeds(codes=np.zeros(2, np.int32)), "`codes`: expected int64, got int32"),
    ("rank", feeds(image=zeros(3, 4)), r"expected 3 axes \[N, 3, 4\], got 2 \[3, 4\]"),
    ("size", feeds(image=zeros(2, 1, 4)), r"got \[2, 1, 4\]; axis 1 has to be 3"),
    ("no samples", feeds(image=zeros(0, 3, 4)), r"has no entries: .*\[0, 3, 4\]"),
    ("no entries", feeds(codes=np.zeros(0, np.int64)), "`codes`: has no entries"),
    ("text", feeds(codes=np.array(["a"])), "expected int64, got <U1"),
)  # fmt: skip


@pytest.mark.parametrize(("arrays", "words"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_what_does_not_fit_is_one_line(arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        checked(arrays, PORTS, "net.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 3])
def test_what_is_not_finite_is_found(value: float, count: int) -> None:
    image = np.zeros((2, 3, 4), np.float32)
    image.reshape(-1)[17 : 17 + count] = value
    more = re.escape(f" and {count - 1} more") if count > 1 else ";"
    with pytest.raises(InputError, match=rf"holds -?(nan|inf) at \[1, 1, 1\]{more}"):
        checked(feeds(image=image), PORTS, "net.onnx")


def test_missing_inputs_are_named_with_their_shapes() -> None:
    with pytest.raises(InputError, match=r"no data for `codes` \(int64 \[\?\]\)"):
        checked({"image": np.zeros((2, 3, 4), np.float32)}, PORTS, "net.onnx")
    assert list(checked({"codes": np.zeros(1, np.int64)}, PORTS, "n", partial=True)) == ["codes"]


def test_lists_and_strided_arrays_are_taken() -> None:
    strided = np.zeros((4, 3, 2), np.float32).T
    found = checked(feeds(image=strided, codes=[1, 2]), PORTS, "net.onnx")
    assert found["image"].flags.c_contiguous
    assert found["codes"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("tensor(float)", ["N", 3], Port("x", "float32", ("N", 3))),
        ("tensor(int64)", [None], Port("x", "int64", (None,))),
        ("tensor(bool)", [0, -1], Port("x", "bool", (None, None))),
        ("tensor(string)", [], Port("x", "object", ())),
        ("tensor(bfloat16)", [1], Port("x", "bfloat16", (1,))),
        ("seq(map(int64,tensor(float)))", None, Port("x", "", ())),
    ],
)
def test_types_of_the_runtime_are_read(kind: str, shape: Any, expected: Port) -> None:
    assert port("x", kind, shape) == expected


def test_shapes_in_words() -> None:
    assert shape_text(("N", None, 3)) == "[N, ?, 3]"
