"""SIGKILL, and each error, at the system calls of a run: nothing live is lost, and it converges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.injection import Call, Fault, errors, sampled, signals
from tests.faults.server import ToolServer
from tests.faults.trial import Tally, calls_of_a_run, try_all
from tests.faults.truth import make_truth
from tests.samples import tree_digest
from tests.stores.requests.service import service

ERRORS = ("EIO", "ENOSPC", "EACCES", "EROFS")
ALL = 1_000_000
_COMMITTING = ("pwrite64", "fdatasync", "fsync", "unlink", "ftruncate")


@pytest.fixture(params=[False, True], ids=["rollback journal", "wal"])
def wal(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def _summed_up(tally: Tally) -> str:
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(tally.codes.items()))
    return f"exit codes {codes}"


def _errors_of(calls: list[Call], folder: Path, error: str) -> list[Fault]:
    return [fault for fault in errors(calls, folder / "dry") if fault.what == f"error={error}"]


def test_killed_now_and_then(server: ToolServer, fast_path: Path, wal: bool) -> None:
    faults = sampled(signals(calls_of_a_run(server, fast_path, wal=wal), "KILL"), 12)
    tally = try_all(server, fast_path, faults, wal=wal)
    assert tally.failures == []
    assert tally.tries >= len(faults) - 2


def test_killed_in_a_commit(
    server: ToolServer, fast_path: Path, wal: bool, tries: Callable[[int, int], int]
) -> None:
    """Nobody opens the database between that run and the next, which must finish by itself."""
    calls = [
        call
        for call in calls_of_a_run(server, fast_path, wal=wal)
        if call.name in _COMMITTING and "requests.db" in call.arguments
    ]
    faults = sampled(signals(calls, "KILL"), tries(12, ALL))
    tally = try_all(server, fast_path, faults, wal=wal)
    assert tally.failures == []
    assert tally.tries == len(faults) > 5


def test_a_proof_does_not_repair_what_it_looks_at(tmp_path: Path) -> None:
    truth = make_truth(tmp_path / "root", wal=False)
    with service(truth.database) as live:
        live.execute("PRAGMA cache_size=1")
        live.execute("BEGIN IMMEDIATE")
        live.execute("UPDATE requests SET status = 'completed', result = randomblob(90000)")
        live.die()
    before = tree_digest(truth.database.parent)
    assert "requests.db-journal" in before
    assert truth.losses() == []
    assert len([left for left in truth.unfinished() if "row" in left]) == len(truth.abandoned)
    assert tree_digest(truth.database.parent) == before


def test_an_error_now_and_then(server: ToolServer, fast_path: Path) -> None:
    calls = calls_of_a_run(server, fast_path, wal=False)
    faults = sampled(list(errors(calls, fast_path / "dry")), 24)
    tally = try_all(server, fast_path, faults, wal=False)
    assert tally.failures == []
    assert tally.tries >= len(faults) - 4


@pytest.mark.faults
def test_killed_at_every_call(
    server: ToolServer,
    tmp_path: Path,
    wal: bool,
    figures: Figures,
    tries: Callable[[int, int], int],
) -> None:
    faults = sampled(signals(calls_of_a_run(server, tmp_path, wal=wal), "KILL"), tries(70, ALL))
    tally = try_all(server, tmp_path, faults, wal=wal)
    journal = "WAL" if wal else "rollback journal"
    figures.record(
        1,
        f"SIGKILL at a system call of a run ({journal})",
        tally.tries,
        tally.lost,
        unfinished=tally.unfinished,
    )
    assert tally.failures == []
    assert tally.tries >= len(faults) * 0.95


def _after_staging(calls: list[Call]) -> Fault:
    """SIGKILL when all files are staged and none is removed: the next run puts them back."""
    purged = [call for call in calls if call.name == "unlinkat" and ".mp3" in call.arguments]
    return signals(purged[:1], "KILL")[0]


def test_killed_again_while_it_recovers(server: ToolServer, fast_path: Path) -> None:
    after = _after_staging(calls_of_a_run(server, fast_path / "first", wal=False))
    calls = calls_of_a_run(server, fast_path, wal=False, after=after)
    recovering = [call for call in calls if call.name in ("linkat", "unlinkat", "getdents64")]
    assert any(call.name == "linkat" for call in recovering)
    faults = sampled(signals(recovering, "KILL"), 8)
    tally = try_all(server, fast_path, faults, wal=False, after=after)
    assert tally.failures == []
    assert tally.tries == len(faults)


@pytest.mark.faults
def test_killed_again_at_every_call(
    server: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    after = _after_staging(calls_of_a_run(server, tmp_path / "first", wal=False))
    calls = calls_of_a_run(server, tmp_path, wal=False, after=after)
    faults = sampled(signals(calls, "KILL"), tries(40, 400))
    tally = try_all(server, tmp_path, faults, wal=False, after=after)
    name = "SIGKILL, and again at a system call of the run that recovers"
    figures.record(1, name, tally.tries, tally.lost, unfinished=tally.unfinished)
    assert tally.failures == []
    assert tally.tries >= len(faults) * 0.95


@pytest.mark.faults
@pytest.mark.parametrize("error", ERRORS)
def test_an_error_at_every_call(
    server: ToolServer,
    tmp_path: Path,
    wal: bool,
    error: str,
    figures: Figures,
    tries: Callable[[int, int], int],
) -> None:
    calls = calls_of_a_run(server, tmp_path, wal=wal)
    faults = sampled(_errors_of(calls, tmp_path, error), tries(25, ALL))
    tally = try_all(server, tmp_path, faults, wal=wal)
    journal = "WAL" if wal else "rollback journal"
    name = f"{error} from a system call ({journal})"
    figures.record(
        2 + ERRORS.index(error),
        name,
        tally.tries,
        tally.lost,
        _summed_up(tally),
        unfinished=tally.unfinished,
    )
    assert tally.failures == []
    assert tally.tries >= len(faults) * 0.9


@pytest.mark.faults
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EROFS"])
def test_an_error_from_some_call_on(
    server: ToolServer,
    tmp_path: Path,
    error: str,
    figures: Figures,
    tries: Callable[[int, int], int],
) -> None:
    calls = calls_of_a_run(server, tmp_path, wal=True)
    writing = [fault for fault in _errors_of(calls, tmp_path, error) if _lasts(fault)]
    faults = [
        Fault(fault.call, fault.what, lasting=True) for fault in sampled(writing, tries(10, 50))
    ]
    tally = try_all(server, tmp_path, faults, wal=True)
    figures.record(
        6,
        f"{error} from a call and all later ones",
        tally.tries,
        tally.lost,
        _summed_up(tally),
        unfinished=tally.unfinished,
    )
    assert tally.failures == []


def _lasts(fault: Fault) -> bool:
    return fault.call.name not in ("openat", "read", "newfstatat", "close")
