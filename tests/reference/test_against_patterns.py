"""`--method pattern_net` and `pattern_attribution` against the printed formulas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.reference import nets
from tests.reference.compare import agree, drawn
from tests.reference.net import Net
from tests.reference.patterns import pattern_net
from tests.reference.walk import one_hot

Rng = np.random.Generator


@pytest.mark.parametrize("make", nets.NETS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("method", ["pattern_net", "pattern_attribution"])
@pytest.mark.parametrize("mask", ["relu", "none"])
def test_patterns(
    make: Callable[[Rng], Net], method: str, mask: str, rng: Rng, tmp_path: Path
) -> None:
    net = make(rng)
    layers = [s for s in net.steps if s.kind in ("conv", "dense")]
    patterns = {f"{s.name}.w": nets.single(rng.normal(size=s.p["w"].shape)) for s in layers}
    np.savez(tmp_path / "patterns.npz", **{k: a.astype(np.float32) for k, a in patterns.items()})
    seed = one_hot(net, 2)
    agree(
        net, {"x": drawn(net, rng)},
        lambda one: pattern_net(net, one, seed, patterns,
                                attribution=method == "pattern_attribution",
                                mask=mask == "relu"),
        method=method, target=2, seed_value="one",
        set={"patterns": str(tmp_path / "patterns.npz"), "mask": mask},
    )  # fmt: skip
