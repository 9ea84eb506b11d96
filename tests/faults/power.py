"""Power cuts: the image behind a mounted ext4, as it is at one moment of a run, mounted again.

The image lies on an XFS of its own, where a copy by reflink is made in one moment: of what the
file system had given to its device by then, in the order in which it did. What it still held in
memory is gone, as after a cut. A device that keeps writes in a cache of its own, and loses or
reorders those that were not flushed, is not shown by this.
"""

from __future__ import annotations

import fcntl
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.file_systems import command, make_image, mount_image
from tests.faults.server import ToolServer
from tests.faults.trial import Tally, arguments_for, environment_for, run_again
from tests.faults.truth import Truth, make_truth

_FICLONE = 0x4004_9409
_COMMIT = 0.02
"""Seconds that the first commit takes, about."""
_OPTIONS = "loop,noauto_da_alloc"
"""Without ext4's own remedy for programs that rename what they did not sync."""


@dataclass(frozen=True)
class Machine:
    """A file system whose power can be cut: its image, where it is mounted, and room for copies."""

    image: Path
    disk: Path
    copies: Path


@dataclass
class Cuts(Tally):
    """What became of a series of power cuts: `between` of them some of the work was on the disk and
    some was not, and `journals` of them a rollback journal or a WAL was left."""

    between: int = 0
    journals: int = 0


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Raises `CannotMountError` where there is no such file system."""
    with ExitStack() as stack:
        outer = make_image(folder / "outer.image", 600, "mkfs.xfs", "-q", "-m", "reflink=1")
        copies = mount_image(stack, outer, folder / "copies", "xfs")
        image = make_image(copies / "image", 48, "mkfs.ext4", "-q")
        yield Machine(image, mount_image(stack, image, folder / "disk", "ext4", _OPTIONS), copies)


def cut_power(
    server: ToolServer, made: Machine, count: int, *, wal: bool, at_the_end: bool = False
) -> Cuts:
    """Cut the power in `count` runs, each over a fresh sample; then look, run again, look again.

    By turns it is cut at a random moment of the run, and soon after the database has a journal, in
    which few moments lie; or else when each has just ended.
    """
    chance, tally, took = random.Random(5), Cuts(), 0.5
    for number in range(count):
        truth = make_truth(made.disk / str(number), wal=wal)
        work = truth.unfinished()
        command("sync", "--file-system", made.disk)
        if at_the_end:
            moment = _Moment(made, None)
        elif number % 2:
            moment = _Moment(made, chance.uniform(0, took))
        else:
            moment = _Moment(made, chance.uniform(0, _COMMIT), truth)
        code, took = _run(server, truth, moment)
        command("rm", "-r", truth.root)
        tally.tries += 1
        tally.codes[code] += 1
        with ExitStack() as stack:
            again = mount_image(stack, moment.copy, made.copies / "again", "ext4", _OPTIONS)
            found = truth.moved(again / truth.root.name)
            tally.between += found.unfinished() not in ([], work)
            tally.journals += bool(_journals(found))
            _judge(server, found, str(moment), tally)
        moment.copy.unlink()
    return tally


def _journals(truth: Truth) -> list[Path]:
    """The rollback journal or WAL with something in it."""
    found = []
    for ending in ("-journal", "-wal"):
        path = truth.database.with_name(truth.database.name + ending)
        with suppress(FileNotFoundError):
            found += [path] if path.stat().st_size else []
    return found


def _judge(server: ToolServer, truth: Truth, moment: str, tally: Cuts) -> None:
    at_once = truth.losses()
    unfinished = run_again(server, truth)
    later = truth.losses()
    tally.lost += bool(at_once or later)
    tally.unfinished += bool(unfinished)
    tally.failures += [f"{moment}: {line}" for line in (*at_once, *unfinished, *later)]


class _Moment:
    """The copy of an image, made `delay` seconds after the start, or after the database of `truth`
    has a journal; or else at the end."""

    def __init__(self, made: Machine, delay: float | None, truth: Truth | None = None) -> None:
        self._image = made.image
        self._truth = truth
        self.copy = made.copies / "cut"
        self.delay = delay

    def __str__(self) -> str:
        if self.delay is None:
            return "a cut at the end"
        start = "of the start" if self._truth is None else "of the first change"
        return f"a cut within {self.delay:.4f} s {start}"

    def take_in_time(self, ended: threading.Event) -> None:
        """Wait for the moment, and take it; at once, should the run have ended."""
        while self._truth is not None and not _journals(self._truth) and not ended.is_set():
            pass
        ended.wait(self.delay)
        self.take()

    def take(self) -> None:
        with self._image.open("rb") as source, self.copy.open("wb") as target:
            fcntl.ioctl(target, _FICLONE, source.fileno())


def _run(server: ToolServer, truth: Truth, moment: _Moment) -> tuple[int, float]:
    """Run the tool while the copy is made; its exit code, and how long it took."""
    output, errors = truth.root / "output", truth.root / "errors"
    server.prepare(arguments_for(truth), output, errors, environment_for(truth))
    ended = threading.Event()
    taker = threading.Thread(target=moment.take_in_time, args=(ended,))
    begun = time.monotonic()
    if moment.delay is not None:
        taker.start()
    code = server.go()
    took = time.monotonic() - begun
    ended.set()
    if moment.delay is None:
        moment.take()
    else:
        taker.join()
    return code, took
