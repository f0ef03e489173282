"""Fixtures that every part of the tests shares."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Derandomised, so that a red run is red for everybody; `make fuzz` looks for new cases.
settings.register_profile("default", derandomize=True, deadline=None, max_examples=50)
settings.register_profile(
    "fuzz", deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The small models and data that are committed."""
    return ROOT / "fixtures"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Larger models beside the repository; a test that needs them skips without."""
    folder = ROOT.parent / "shared"
    if not (folder / "models").is_dir():
        pytest.skip("../shared is absent")
    return folder


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: tests may be reordered or run alone."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
