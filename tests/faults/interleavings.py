"""Every interleaving of one run with the service, as far as a small cache needs.

Each thing the service does is placed between each two calls of a run (`single`), is cut in two
there (`cut`), or comes twice (`pairs`). Afterwards nothing live may be lost, no update that the
service saved may be missing, nothing may be torn.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from narration_cleanup.apply.result import Result
from narration_cleanup.core.errors import CleanupError
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.report.log import Log
from narration_cleanup.run.run import run
from narration_cleanup.settings import Settings, load_settings
from narration_cleanup.stores.cache.local import mismatches
from tests.faults.stepwise import Steps, Stepwise
from tests.faults.tally import Tally, tried
from tests.faults.woven import START_NS, Weave
from tests.samples import EntrySpec, make_cache

GRAINS = {"1 ns": 1, "10 ms": 10**7, "1 s": 10**9, "2 s": 2 * 10**9}
Program = Callable[[Path], None]
Thing = Callable[[Stepwise], Steps]
REPLACED = "rename index.new"
RESTART = "start again, get live"
MADE_ANEW = "get and put expired"
_VOICE = "ghostly_whisper"
_DAY = timedelta(days=1)
_AT_THE_END = 1 << 30
"""A number that no call has: behind the last one."""
_ODD = timedelta(microseconds=123_456)
"""So that every time has a fraction, and the same length."""
_SEES = re.compile(r"getdents |sleep |.* of \S*/narration$|.*cache_index\.json( |$)", re.DOTALL)
"""Calls that may see or change what the service does to the index or the folder, or wait. The other
descriptors are those of the tool's own files."""


@cache
def _settings(directory: Path) -> Settings:
    flags = {"cache.dir": str(directory), "cleanup.state_dir": str(directory.parent / "state")}
    return load_settings(flags=flags, config_file=None, environ={})


def the_tool(directory: Path) -> None:
    """One run, as the command does it, without history and messages."""
    settings = _settings(directory)
    result = Result(time.time(), dry_run=False)
    with suppress(CleanupError):  # it may refuse
        run(settings, result, Stop(), NoProgress(), Log(muted=True), None)


class Move(NamedTuple):
    """A thing that is done before call `at`; its steps from `cut` on not before `rest_at`."""

    thing: str
    at: int
    cut: int = 0
    rest_at: int = 0

    def __str__(self) -> str:
        rest = f", from its step {self.cut} on at {self.rest_at}" if self.cut else ""
        return f"{self.thing} at {self.at}{rest}"


class Arena:
    """A small cache that is made anew for each run.

    Of eight entries every second one is expired, one of those has lost its audio; all members have
    the same length, or (`uneven`) each another one.
    """

    def __init__(
        self, root: Path, grain_ns: int, program: Program = the_tool, *, uneven: bool = False
    ) -> None:
        self.root = root
        self.grain_ns = grain_ns
        self.program = program
        self.directory = root / "cache" / "narration"
        specs = [
            EntrySpec(
                age=_ODD + (20 - number if number % 2 else 2) * _DAY,
                variant_id=f"v-{'x' * number * uneven}{number}",
                voice_style=_VOICE,
                file=number != 3,
            )
            for number in range(8)
        ]
        now = datetime.fromtimestamp(START_NS / 1e9, UTC)
        sample = make_cache(self.directory, now=now, entries=specs)
        self._ages = {
            entry.name: (now - entry.created_at).total_seconds() for entry in sample.entries
        }
        self._names = [entry.name for entry in sample.entries]
        self._contents = {path.name: path.read_bytes() for path in self.directory.iterdir()}
        # As few as are needed here: to go through thousands takes longer than all the rest.
        mismatches.CELLS, mismatches._MASK = 64, 63
        self.run()  # the first one also reads what is read once
        self.calls = self.run()[1]

    def run(self, moves: Sequence[Move] = ()) -> tuple[list[str], list[str]]:
        """What was lost by a run with these moves in it, and the run's calls."""
        weave = Weave(self.grain_ns)
        self.make_anew(weave)
        service = Stepwise(self.directory, self.root, lambda: weave.now_ns)
        script = self._script(service, moves)
        pending = next(script, None)

        def before(number: int) -> None:
            nonlocal pending
            while pending is not None and pending[0] <= number:
                pending[1]()
                pending = next(script, None)

        weave.before, weave.changed = before, service.look
        with weave:
            try:
                self.program(self.directory)
            except Exception as error:
                service.faults.append(f"crash: {error!r}")
            weave.do(lambda: before(_AT_THE_END))
        return service.judge(), weave.calls

    def steps(self, thing: str) -> int:
        """Where a thing can be cut: the number of its pauses."""
        with Weave(self.grain_ns) as weave:
            self.make_anew(weave)
            service = Stepwise(self.directory, self.root, lambda: weave.now_ns)
            return sum(1 for _ in THINGS[thing][0](service))

    def points(
        self,
        thing: str,
        calls: Sequence[str] | None = None,
        first: int = 0,
        last: int = _AT_THE_END,
    ) -> list[int]:
        """The calls of a run, from `first` to `last`, that a thing is worth placing before: those
        that may see or change what it does, for before any other one is the same as behind it. The
        end of the run is one of them.
        """
        calls = self.calls if calls is None else calls
        names = tuple(self._names[number] for number in THINGS[thing][1])
        return [
            at
            for at, call in enumerate((*calls, "sleep until the next run"))
            if first <= at <= last and (_SEES.match(call) or any(name in call for name in names))
        ]

    def make_anew(self, weave: Weave) -> None:
        """The cache as it is at the beginning of each run."""
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        for name, content in self._contents.items():
            path = self.directory / name
            path.write_bytes(content)
            weave.age(path, self._ages.get(name, 0))

    def _script(
        self, service: Stepwise, moves: Sequence[Move]
    ) -> Iterator[tuple[int, Callable[[], None]]]:
        for move in moves:
            steps = THINGS[move.thing][0](service)
            if move.cut:
                yield move.at, partial(_exhaust, islice(steps, move.cut))
            yield move.rest_at or move.at, partial(_exhaust, steps)


def _exhaust(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


def _get(number: int) -> Thing:
    return lambda service: service.get_steps(service.first[number][0])


def _put(number: int) -> Thing:
    return lambda service: service.put_steps(str(service.first[number][1]["variant_id"]))


def _regenerate(number: int) -> Thing:
    def steps(service: Stepwise) -> Steps:
        yield from _get(number)(service)
        yield from _put(number)(service)

    return steps


def _start_again(service: Stepwise) -> Steps:
    yield from service.restart_steps()
    yield from _get(0)(service)


THINGS: dict[str, tuple[Thing, tuple[int, ...]]] = {
    "get live": (_get(0), (0,)),
    "get last live": (_get(6), (6,)),
    "get expired": (_get(1), (1,)),
    "get last expired": (_get(7), (7,)),
    "get expired without audio": (_get(3), (3,)),
    "put expired": (_put(1), (1,)),
    "put last expired": (_put(7), (7,)),
    "put live": (_put(4), (4,)),
    "put new": (lambda service: service.put_steps("v-8"), ()),
    MADE_ANEW: (_regenerate(1), (1,)),
    "get and put last expired": (_regenerate(7), (7,)),
    "clean up": (Stepwise.clean_steps, (1, 3, 5, 7)),
    "evict": (Stepwise.evict_steps, (0, 2, 4, 6)),
    RESTART: (_start_again, (0,)),
}
"""What the service does, and the numbers of the entries whose audio that may touch."""


def single(arena: Arena, things: Iterable[str] = THINGS) -> Tally:
    """Each thing before each call."""
    return tried(arena.run, ((Move(thing, at),) for thing in things for at in arena.points(thing)))


def cut(arena: Arena, things: Iterable[str], window: int | None = None) -> Tally:
    """Each thing cut in two at each of its steps: its beginning before each call, and its end
    before each later one (or the next `window` of them)."""
    tally = Tally()
    for thing in things:
        for number in range(1, arena.steps(thing) + 1):
            for at in arena.points(thing):
                calls = arena.run([Move(thing, at, number, _AT_THE_END)])[1]
                rests = arena.points(thing, calls, at + 1)[:window]
                tally.add(tried(arena.run, ((Move(thing, at, number, rest),) for rest in rests)))
    return tally


def pairs(
    arena: Arena,
    things: Iterable[tuple[str, str]],
    near: str = "",
    within: int = 0,
    *,
    between: bool = False,
) -> Tally:
    """The first thing before each call, and the second there or later; or no more than `within`
    calls away from the call that begins with `near`.

    Where a restart or a use is known to miss for a moment what the first thing wrote: only or never
    then, as `between` says.
    """
    tally = Tally()
    for first, second in things:
        for at in arena.points(first, None, *_around(arena.calls, near, within)):
            one = Move(first, at)
            calls = arena.run([one])[1]
            start, end = _around(calls, near, within)
            then = [
                (one, Move(second, later))
                for later in arena.points(second, calls, max(at, start), end)
                if _is_between(calls, at, second, later) is between
            ]
            tally.add(tried(arena.run, then))
    return tally


def _is_between(calls: Sequence[str], at: int, second: str, later: int) -> bool:
    """Whether call `later` comes while what was written before call `at` is on its way back.

    A save that the last comparison missed is in the replaced index, where a restart does not look,
    until the index is replaced again. Audio made anew between the look at it and its staging is
    staged, where its next use does not look, until it was verified and linked.
    """
    if second == MADE_ANEW:
        found = [number for number, call in enumerate(calls) if call.startswith("link ")]
        return calls[at].startswith("rename ") and bool(found) and at < later <= found[0]
    found = [number for number, call in enumerate(calls) if call.startswith(REPLACED)]
    return second == RESTART and bool(found) and at <= found[0] < later <= found[-1]


def _around(calls: Sequence[str], near: str, within: int) -> tuple[int, int]:
    """The first and the last call to consider: all, where `near` names none."""
    found = [at for at, call in enumerate(calls) if near and call.startswith(near)]
    return (found[0] - within, found[-1] + within) if found else (0, len(calls))
