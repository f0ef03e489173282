"""Random inputs that the model runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rfponnx.errors import InputError, OptionError
from rfponnx.runtime.draw import drawn
from rfponnx.runtime.session import Session
from tests.runtime import nets

CODES = """
codes (int64[N, 4] code, float[N, 2] x) => (float[N, 5] y)
<float[3, 2] table = {1, 2, 3, 4, 5, 6}> {
  rows = Gather(table, code)
  first = Flatten<axis = 1>(rows)
  both = Concat<axis = 1>(first, x)
  start = Constant<value = int64[1] {0}>()
  end = Constant<value = int64[1] {5}>()
  axis = Constant<value = int64[1] {1}>()
  y = Slice(both, start, end, axis)
}
"""


def draw(model: Any, given: Any = None, seed: int = 0, batch: int | None = None) -> Any:
    return drawn(Session(model), model, given or {}, seed=seed, batch=batch)


def test_drawn_inputs_run_and_repeat() -> None:
    model = nets.model(CODES)
    one, again, other = draw(model, seed=1), draw(model, seed=1), draw(model, seed=2)
    assert all(np.array_equal(one[n], again[n]) for n in ("code", "x"))
    assert not np.array_equal(one["x"], other["x"])
    assert one["code"].shape == (1, 4)
    many = draw(model, batch=50)
    assert set(np.unique(many["code"])) == {0, 1, 2}  # the rows of the table
    assert Session(model).run(many)["y"].shape == (50, 5)


def test_what_is_given_stays_and_says_how_many() -> None:
    x = np.ones((7, 2), np.float32)
    found = draw(nets.model(CODES), {"x": x})
    assert found["x"] is x
    assert found["code"].shape == (7, 4)
    both = {"x": x, "code": np.zeros((7, 4), np.int64)}
    assert draw(nets.model(CODES), both).keys() == both.keys()


def test_what_is_given_wrong_is_said_at_once() -> None:
    with pytest.raises(InputError, match="expected float32, got float64"):
        draw(nets.model(CODES), {"x": np.ones((7, 2))})
    with pytest.raises(InputError, match="no input `y`"):
        draw(nets.model(CODES), {"y": np.ones((7, 2))})


def test_free_sizes_are_found() -> None:
    image = draw(nets.model(nets.PIXELS), batch=2)["image"]
    assert image.shape[:2] == (2, 3)
    assert min(image.shape[2:]) > 1


def test_a_model_is_left_as_it_is() -> None:
    model = nets.converted(nets.DENSE, source_masks="x")
    before = model.SerializeToString(deterministic=True)
    draw(model, {"x": np.ones((3, 2), np.float32)})
    assert model.SerializeToString(deterministic=True) == before


def test_a_given_size_holds_for_the_others() -> None:
    text = """
    sized (float[N, 3, H, W] image, float[N, 1, H, W] mask) => (float[N, 3, H, W] y) {
      y = Mul(image, mask)
    }
    """
    image = np.ones((2, 3, 5, 7), np.float32)
    found = draw(nets.model(text), {"image": image})
    assert found["mask"].shape == (2, 1, 5, 7)


def test_a_fixed_batch_is_kept() -> None:
    model = nets.model(nets.FIXED)
    assert draw(model)["x"].shape == (1, 2)
    assert draw(model, batch=1)["x"].shape == (1, 2)
    with pytest.raises(OptionError, match=r"`x` float32 \[1, 2\] is not free; leave it out"):
        draw(model, batch=2)
    with pytest.raises(OptionError, match="--batch: 0 samples"):
        draw(model, batch=0)


def test_masks_share_out_the_entries(tmp_path: Path) -> None:
    masked = nets.converted(nets.DENSE, sources={"a": "x@mask", "b": "x@mask"})
    found = draw(masked, batch=40)
    both = found["a_mask"] + found["b_mask"]
    assert found["a_mask"].shape == (40, 2)
    assert set(np.unique(both)) == {0.0, 1.0}
    many = draw(nets.converted(nets.DENSE, source_masks="x"), batch=40)
    assert many["x_masks"].shape == (2, 40, 2)
    inside = nets.converted(nets.DENSE, sources={"a": "z@mask"})
    assert draw(inside)["a_mask"].shape == (1, 1)
