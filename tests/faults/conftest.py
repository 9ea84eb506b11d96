"""What the proofs share: a loaded copy of the tool, the figures, and how much to try."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.faults.figures import Figures
from tests.faults.server import ToolServer


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """The figures of this session."""
    full = bool(request.config.getoption("--full"))
    return Figures(full, tmp_path_factory.getbasetemp())


@pytest.fixture
def tries(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`tries(short, full)`: how often to try, by `--full`."""
    full = bool(request.config.getoption("--full"))
    return lambda short, long: long if full else short


@pytest.fixture(scope="session")
def server() -> Iterator[ToolServer]:
    """The loaded tool; skipped where calls cannot be traced."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    with ToolServer() as loaded:
        yield loaded


@pytest.fixture
def as_root() -> None:
    """For what only root can arrange: mounts, other users."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
