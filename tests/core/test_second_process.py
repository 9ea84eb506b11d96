"""Work in a second process: its result, its failures, and its end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from narration_cleanup.core import second_process
from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.second_process import InSecondProcess, Streamed

pytestmark = pytest.mark.filterwarnings("ignore:.*fork")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever threads other tests have left behind."""
    monkeypatch.setattr(second_process, "_other_threads", lambda: False)


def test_result_comes_from_another_process() -> None:
    assert InSecondProcess(os.getpid, fork=True).result() != os.getpid()
    assert InSecondProcess(os.getpid, fork=False).result() == os.getpid()


def test_large_result_arrives_whole() -> None:
    wanted = [str(number) for number in range(300_000)]
    assert InSecondProcess(lambda: wanted.copy(), fork=True).result() == wanted


def test_what_fails_over_there_is_told_here() -> None:
    def fail() -> None:
        raise PermissionError(13, "no")

    with pytest.raises(PermissionError):
        InSecondProcess(fail, fork=True).result()


def test_process_that_is_killed_leaves_the_work_to_be_done_here() -> None:
    here = os.getpid()

    def work() -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return 7

    assert InSecondProcess(work, fork=True).result() == 7


def test_a_process_ends_soon_after_its_parent_is_killed() -> None:
    """One that waited for itself to read would hold the run lock for ever."""
    killing = (
        "import os, signal\n"
        "from narration_cleanup.core.second_process import InSecondProcess\n"
        "def work():\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n"
        "    return bytes(1_000_000)\n"
        "InSecondProcess(work, fork=True).result()\n"
    )
    # The other process has the output too: it is closed when both have ended.
    with subprocess.Popen([sys.executable, "-c", killing], stdout=subprocess.PIPE) as parent:
        assert parent.communicate(timeout=60)[0] == b""
    assert parent.returncode == -signal.SIGKILL


def test_an_end_is_told_also_where_the_caller_ignores_the_ends_of_processes() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert InSecondProcess(os.getpid, fork=True).result() != os.getpid()
        stream = Streamed(lambda: iter([(1,)]))
        assert list(stream) == [(1,)]
        stream.close()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_where_there_is_no_pipe_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pipe", none)
    assert InSecondProcess(os.getpid, fork=True).result() == os.getpid()
    assert list(Streamed(lambda: iter([(os.getpid(),)]))) == [(os.getpid(),)]


def test_nothing_is_forked_beside_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        assert InSecondProcess(os.getpid, fork=True).result() == os.getpid()
    finally:
        done.set()
        other.join()


def test_closing_ends_the_process() -> None:
    reading, writing = os.pipe()
    reader = InSecondProcess(lambda: os.read(reading, 1), fork=True)
    os.close(reading)
    reader.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")
    os.close(writing)


def test_what_another_process_makes_comes_in_order_and_in_pieces() -> None:
    here = os.getpid()
    stream = Streamed(lambda: ((number, os.getpid(), "x" * 100_000) for number in range(50)))
    got = list(stream)
    stream.close()
    assert [number for number, _, _ in got] == list(range(50))
    assert {pid for _, pid, _ in got} - {here} == {got[0][1]}
    with pytest.raises(ChildProcessError):
        os.waitpid(got[0][1], 0)


def test_an_error_over_there_is_raised_here() -> None:
    def make() -> Iterator[tuple[int]]:
        yield (1,)
        raise PermissionError(13, "Permission denied", "folder")

    stream = Streamed(make)
    received = iter(stream)
    assert next(received) == (1,)
    with pytest.raises(PermissionError, match="folder"):
        next(received)
    stream.close()


def test_a_process_that_ends_before_its_time_is_noticed() -> None:
    def make() -> Iterator[tuple[int]]:
        yield (1,)
        raise RuntimeError

    stream = Streamed(make)
    with pytest.raises(TargetError, match="before its time"):
        list(stream)
    stream.close()


def test_nothing_is_left_of_a_stream_that_nobody_reads() -> None:
    def forever() -> Iterator[tuple[str]]:
        while True:
            yield ("x" * 100_000,)

    stream = Streamed(forever)
    before = len(os.listdir("/proc/self/fd"))
    stream.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_beside_other_threads_it_is_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_process, "_other_threads", lambda: True)
    stream = Streamed(lambda: iter([(os.getpid(),)]))
    assert list(stream) == [(os.getpid(),)]
    stream.close()
