"""Timing: both models in turns, on the same inputs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from rfponnx.errors import InputError, OptionError
from rfponnx.runtime.bench import bench
from rfponnx.runtime.engine import Engine
from tests.runtime import nets

PAIR = (nets.model(nets.DENSE), nets.converted(nets.DENSE, sources={"a": "x[:,0]"}))


def test_the_report_adds_up() -> None:
    said: list[str] = []
    found = bench(*PAIR, batch=4, rounds=3, threads=1, progress=said.append)
    assert (found.batch, found.rounds, found.sources, found.provider) == (4, 3, 1, "cpu")
    for times in (found.original, found.converted):
        assert 0 < times.wall_min <= times.wall_median
        assert 0 <= times.cpu_min <= times.cpu_median
    assert found.ratio_wall == found.converted.wall_min / found.original.wall_min
    assert said[-1] == "round 3 of 3"
    assert json.loads(json.dumps(found.to_json()))["batch"] == 4


def test_models_run_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    bind = Engine.bind

    def spy(self: Engine, feeds: Any) -> Any:
        call, name = bind(self, feeds), f"{len(self.outputs)}"
        return lambda: (order.append(name), call())

    monkeypatch.setattr(Engine, "bind", spy)
    bench(*PAIR, rounds=3)
    assert order[-6:] == ["1", "3"] * 3


def test_given_inputs_are_used() -> None:
    x = np.ones((5, 2), np.float32)
    assert bench(*PAIR, inputs={"x": x}, rounds=1).batch == 5
    masked = nets.converted(nets.DENSE, source_masks="x")
    masks = np.ones((3, 1, 2), np.float32)
    found = bench(PAIR[0], masked, inputs={"x": x, "x_masks": masks}, rounds=1)
    assert found.sources is None
    with pytest.raises(InputError, match="no input `y`"):
        bench(*PAIR, inputs={"y": x}, rounds=1)


def test_wrong_numbers() -> None:
    with pytest.raises(OptionError, match="--rounds: 0 rounds"):
        bench(*PAIR, rounds=0)
    with pytest.raises(OptionError, match="--batch: 0 samples"):
        bench(*PAIR, batch=0)
