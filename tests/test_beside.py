"""Work in a second process: its result, its failures, and its end."""

from __future__ import annotations

import os
import threading

import pytest

from narration_cleanup import beside
from narration_cleanup.beside import Beside

pytestmark = pytest.mark.filterwarnings("ignore:.*fork")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever threads other tests have left behind."""
    monkeypatch.setattr(beside, "_other_threads", lambda: False)


def test_result_comes_from_another_process() -> None:
    assert Beside(os.getpid, fork=True).result() != os.getpid()
    assert Beside(os.getpid, fork=False).result() == os.getpid()


def test_large_result_arrives_whole() -> None:
    wanted = [str(number) for number in range(300_000)]
    assert Beside(lambda: wanted.copy(), fork=True).result() == wanted


def test_what_fails_over_there_is_told_here() -> None:
    def fail() -> None:
        raise PermissionError(13, "no")

    with pytest.raises(PermissionError):
        Beside(fail, fork=True).result()


def test_process_that_is_killed_leaves_the_work_to_be_done_here() -> None:
    here = os.getpid()

    def work() -> int:
        if os.getpid() != here:
            os.abort()
        return 7

    assert Beside(work, fork=True).result() == 7


def test_nothing_is_forked_beside_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        assert Beside(os.getpid, fork=True).result() == os.getpid()
    finally:
        done.set()
        other.join()


def test_closing_ends_the_process() -> None:
    reading, writing = os.pipe()
    reader = Beside(lambda: os.read(reading, 1), fork=True)
    os.close(reading)
    reader.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    with pytest.raises(BrokenPipeError):
        os.write(writing, b"x")
    os.close(writing)
