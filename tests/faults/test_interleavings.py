"""A run and the service, in every order of their calls: nothing live is lost, nothing torn."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from tests.faults import hasty, naive
from tests.faults.figures import Figures
from tests.faults.interleavings import (
    GRAINS,
    MADE_ANEW,
    REPLACED,
    RESTART,
    THINGS,
    Arena,
    cut,
    pairs,
    single,
    the_tool,
)
from tests.faults.tally import Tally
from tests.faults.woven import Weave
from tests.samples import SAMPLE_NOW

_SAVES = [("get live", "get last live"), ("get and put expired", "get live")]
_AUDITED = {
    "open": "open",
    "os.link": "link",
    "os.listdir": "listdir",
    "os.mkdir": "mkdir",
    "os.remove": "unlink",
    "os.rename": "rename",
    "os.rmdir": "rmdir",
    "os.scandir": "scandir",
    "os.truncate": "ftruncate",
}
_SERVICE = [
    *("get expired", "get and put expired", "put new", "get live"),
    *("clean up", RESTART),
]
"""Each thing that the service does: it drops, makes anew, adds, saves, cleans, restarts."""
_TWICE = ["get live", "get and put expired", "clean up", "put new", RESTART]
"""What is placed twice: to get an expired entry is a part of making it anew."""
_OFTEN = ["get live", "get and put expired", "put last expired", "clean up", "put new"]
"""What is cut in two: a save alone, audio made anew before or behind its removal, and the rest of
what changes the number of entries."""


@pytest.mark.parametrize("grain", GRAINS)
def test_each_thing_between_each_two_calls(fast_path: Path, grain: str) -> None:
    is_all = grain == "1 s"  # in which most was lost once
    things = [thing for thing in THINGS if "last" not in thing] if is_all else _SERVICE
    tally = single(Arena(fast_path, GRAINS[grain], uneven=is_all), things)
    assert tally.tries > 50 * len(things)
    assert not tally.found, tally.first()


@pytest.mark.parametrize("grain", ["1 ns", "2 s"])
def test_two_saves_around_the_replacement(fast_path: Path, grain: str) -> None:
    tally = pairs(Arena(fast_path, GRAINS[grain]), _SAVES[:1], REPLACED, 10)
    assert tally.tries > 20
    assert not tally.found, tally.first()


@pytest.mark.parametrize(
    ("first", "second", "near", "lost"),
    [
        ("get live", RESTART, REPLACED, "started without the"),
        (MADE_ANEW, MADE_ANEW, "sleep", "get found no"),
    ],
)
def test_what_is_missed_for_a_moment(
    fast_path: Path, first: str, second: str, near: str, lost: str
) -> None:
    """A save before the replacement by a restart, audio before its staging by a use; else not."""
    arena = Arena(fast_path, 1)
    missed = pairs(arena, [(first, second)], near, 6, between=True)
    assert set(missed.kinds) == {lost}
    assert len(missed.found) == missed.tries > 1
    others = pairs(arena, [(first, second)], near, 6)
    assert others.tries > 10
    assert not others.found, others.first()


def test_a_run_is_the_same_each_time(fast_path: Path) -> None:
    """Or a number would not name the same call in the next one."""
    arena = Arena(fast_path, 1)
    assert [arena.run()[1] for _ in range(3)] == [arena.calls] * 3
    assert any(call.startswith(REPLACED) for call in arena.calls)


def test_no_call_escapes(fast_path: Path) -> None:
    """Of the calls that Python itself reports, those of a run are the scheduling points."""
    events: list[str] = []
    listening = True

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event in _AUDITED:
            events.append(_AUDITED[event])

    arena = Arena(fast_path, 1)
    sys.addaudithook(hear)  # for good: there is no way to take it back
    try:
        weave = Weave(1)
        arena.make_anew(weave)
        events.clear()
        with weave:
            the_tool(arena.directory)
    finally:
        listening = False
    points = Counter(call.split()[0] for call in weave.calls)
    assert Counter(events) == {name: points[name] for name in set(events)}
    assert {"open", "rename", "scandir", "unlink"} <= set(events)
    by_name = [call for call in weave.calls if call.startswith(f"open {fast_path}")]
    assert all(call.split()[-1].isdigit() for call in by_name), "opened in a way that hides reads"


def test_what_a_naive_program_loses_is_found(fast_path: Path) -> None:
    tally = single(Arena(fast_path, 1, _naive), ["get live", "put expired"])
    assert tally.kinds.keys() >= {"audio of the", "the live entry", "the update of"}


def _naive(directory: Path) -> None:
    naive._clean_cache(directory, SAMPLE_NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("thing", "grain", "uneven", "found"),
    [
        ("get and put expired", "1 ns", False, set()),
        ("get and put expired", "1 s", False, {"the live entry"}),
        ("get and put expired", "1 s", True, {"torn"}),
        ("get live", "10 ms", False, {"the update of"}),
    ],
)
def test_versions_known_by_coarse_times_are_found(
    fast_path: Path, thing: str, grain: str, uneven: bool, found: set[str]
) -> None:
    tally = single(Arena(fast_path, GRAINS[grain], hasty.clean, uneven=uneven), [thing])
    assert bool(tally.found) == bool(found)
    assert tally.kinds.keys() >= found


def test_an_older_save_put_over_a_newer_one_is_found(fast_path: Path) -> None:
    """The first save comes between the last check and the rename, the second right behind it."""
    arena = Arena(fast_path, 1, hasty.clean)
    assert not single(arena, ["get live"]).found
    tally = pairs(arena, _SAVES[:1])
    assert set(tally.kinds) == {"the update of"}


@pytest.mark.faults
@pytest.mark.parametrize("grain", GRAINS)
def test_all_interleavings(fast_path: Path, grain: str, figures: Figures) -> None:
    """In full: two things wherever they are. Else two saves, near the replacement of the index."""
    tally = Tally()
    for uneven in (False, True):
        arena = Arena(fast_path / str(uneven), GRAINS[grain], uneven=uneven)
        tally.add(single(arena))
        tally.add(pairs(arena, _SAVES, REPLACED, 12))
        tally.add(cut(arena, _OFTEN if figures.full else _OFTEN[:1], 6))
    if figures.full:
        arena = Arena(fast_path / "pairs", GRAINS[grain])
        tally.add(pairs(arena, product(_TWICE, _TWICE)))
    figures.record(
        16,
        f"what the service does placed between each two calls of a run, file times of {grain}",
        tally.tries,
        len(tally.found),
    )
    assert not tally.found, tally.first()
