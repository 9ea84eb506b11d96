"""A run over a tree, ended or failing at each of its calls: nothing live is lost, it converges."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.apply.result import CacheResult
from narration_cleanup.core.errors import ConfigError, TargetError
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import CachePolicy, plan_cache
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.cache.local.directory import OWN_FOLDER
from narration_cleanup.stores.cache.local.unindexed import AudioTree
from tests.samples import SAMPLE_NOW

NOW = SAMPLE_NOW.timestamp()
DAY = 86_400
CHANGES = ("rename", "unlink", "rmdir", "mkdir")
CALLS = (*CHANGES, "link", "stat", "open", "scandir")
GONE = {
    "a/old.wav": b"1",
    "a/old.pho": b"2",
    "a/b/old.mp3": b"3",
    "old.mp3": b"4",
    "only/old.ogg": b"5",
}
LIVE = {"a/new.wav": b"6", "a/new.pho": b"7", "new.mp3": b"8", "x.yaml": b"9", "a/b/old.yaml": b"0"}
ENOUGH = 400


class KilledError(BaseException):
    """Stands for the end of the process: nothing in the program may catch it and go on."""


@contextmanager
def harmed(number: int, harm: Callable[[], None], *, after: bool) -> Iterator[list[str]]:
    """Harm the call of that number, before it is done, or after one that changes something.

    Yields a list that gets the name of the call once it is met.
    """
    met: list[str] = []
    count = 0
    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES if after else CALLS:
            real = getattr(os, name)

            def call(
                *args: object, _real: object = real, _name: str = name, **more: object
            ) -> object:
                nonlocal count
                count += 1
                mine = count == number
                if mine:
                    met.append(_name)
                if mine and not after:
                    harm()
                try:
                    return _real(*args, **more)  # type: ignore[operator]
                finally:
                    if mine and after:
                        harm()

            patch.setattr(os, name, call)
        yield met


def lay_out(root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    for name, content in (GONE | LIVE).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        days = 30 if name in GONE or "yaml" in name else 1
        os.utime(path, (NOW, NOW - days * DAY))


def run(root: Path) -> CacheResult:
    store = AudioTree(root, audio_suffixes=(".mp3", ".wav", ".ogg"), remove_empty_dirs=True)
    try:
        store.recover()
        with store.survey() as survey:
            plan = plan_cache(survey, CachePolicy(), NOW)
        return apply_cache(plan, store, Stop(), NoProgress())
    finally:
        store.close()


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and OWN_FOLDER not in path.parts
    }


def check_and_finish(root: Path, where: str) -> None:
    """What lives is as it was; and the next run finishes the job."""
    found = contents(root)
    assert {name: found.get(name) for name in LIVE} == LIVE, where
    assert {name: GONE[name] for name in found.keys() - LIVE.keys()} == {
        name: content for name, content in found.items() if name not in LIVE
    }, where
    run(root)
    assert contents(root) == LIVE, where
    assert os.listdir(root / OWN_FOLDER) == [], where
    assert not (root / "only").exists() or not os.listdir(root / "only"), where


@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
def test_killed_at_each_call(tmp_path: Path, *, after: bool) -> None:
    def die() -> None:
        raise KilledError

    root = tmp_path / "cache"
    met = set()
    for number in range(1, ENOUGH):
        lay_out(root)
        with harmed(number, die, after=after) as harmed_call, suppress(KilledError):
            run(root)
        if not harmed_call:
            break
        met.add(harmed_call[0])
        check_and_finish(root, f"{harmed_call[0]}, call {number}")
    else:
        pytest.fail("the run never came to its end")
    assert met == set(CHANGES if after else CALLS) - {"link"}


@pytest.mark.parametrize("code", ["EIO", "EACCES", "ENOSPC", "EROFS"])
def test_an_error_from_each_call(code: str, tmp_path: Path) -> None:
    """Only what is really gone is called done, and only a look that cannot be had ends the run."""

    def fail() -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    root = tmp_path / "cache"
    for number in range(1, ENOUGH):
        lay_out(root)
        result = None
        with (
            harmed(number, fail, after=False) as harmed_call,
            suppress(OSError, TargetError, ConfigError),
        ):
            result = run(root)
        if not harmed_call:
            break
        where = f"{harmed_call[0]}, call {number}"
        if result is not None:
            found = contents(root)
            for action, outcome, _ in result.outcomes:
                assert (action.file in found) == (outcome is not Outcome.DONE), where
            left = {
                action.file for action, outcome, _ in result.outcomes if outcome != Outcome.DONE
            }
            unseen = {name for name in found if name in GONE} - left
            trouble = list(result.problems) + list(result.plan.problems)
            assert not unseen or trouble or left, where
        check_and_finish(root, where)
    else:
        pytest.fail("the run never came to its end")
