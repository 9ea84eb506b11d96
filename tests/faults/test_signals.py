"""SIGTERM and SIGINT: the run ends soon and cleanly, with its own exit code, and converges."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.figures import Figures
from tests.faults.injection import sampled, signals
from tests.faults.server import ToolServer, crashed
from tests.faults.trial import (
    arguments_for,
    calls_of_a_run,
    environment_for,
    run_again,
    try_all,
)
from tests.faults.truth import make_truth, result_of

CODES = {"TERM": 143, "INT": 130}
UNCAUGHT = -15
"""Before its work begins, and after its end, SIGTERM ends the process in the default way, which a
shell reports as 143 as well."""


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_at_a_system_call_now_and_then(server: ToolServer, fast_path: Path, name: str) -> None:
    faults = sampled(signals(calls_of_a_run(server, fast_path, wal=False), name), 8)
    tally = try_all(server, fast_path, faults, wal=False)
    assert tally.failures == []
    assert set(tally.codes) <= {0, CODES[name], UNCAUGHT}
    assert tally.codes[CODES[name]] > 0


@pytest.mark.faults
@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_at_every_system_call(
    server: ToolServer,
    tmp_path: Path,
    name: str,
    figures: Figures,
    tries: Callable[[int, int], int],
) -> None:
    calls = calls_of_a_run(server, tmp_path, wal=True)
    faults = sampled(signals(calls, name), tries(50, 1_000_000))
    tally = try_all(server, tmp_path, faults, wal=True)
    codes = ", ".join(f"{code}: {count}" for code, count in sorted(tally.codes.items()))
    figures.record(
        7,
        f"SIG{name} at a system call of a run",
        tally.tries,
        tally.lost,
        f"exit codes {codes}",
        unfinished=tally.unfinished,
    )
    assert tally.failures == []
    assert set(tally.codes) <= {0, CODES[name], UNCAUGHT}


@pytest.mark.faults
def test_at_random_moments(
    server: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    chance = random.Random(4)
    codes: Counter[int] = Counter()
    longest = 0.0
    wrong: list[str] = []
    lost = unfinished = 0
    count = tries(30, 200)
    took = 1.0
    for number in range(count):
        name = ("TERM", "INT")[number % 2]
        truth = make_truth(tmp_path / str(number), wal=True, expired=400, live=50)
        arguments, environment = arguments_for(truth), environment_for(truth)
        output, errors = truth.root / "output", truth.root / "errors"
        child = server.prepare(arguments, output, errors, environment)
        delay = chance.uniform(0, took)
        sent: list[float] = []
        descriptor = os.pidfd_open(child)
        timer = threading.Timer(delay, _send, (descriptor, name, sent))
        begun = time.monotonic()
        timer.start()
        code = server.go()
        ended = time.monotonic()
        timer.cancel()
        timer.join()
        os.close(descriptor)
        codes[code] += 1
        if code == 0:
            took = ended - begun
        elif sent:
            longest = max(longest, ended - sent[0])
        said = output.read_text() + errors.read_text()
        document = result_of(output)
        if code not in (0, CODES[name], UNCAUGHT) or crashed(said):
            wrong.append(f"SIG{name} after {delay:.3f} s: exit {code}: {said}")
        if document is not None and code not in (document["exit_code"], UNCAUGHT):
            wrong.append(f"SIG{name}: exit {code}, yet outcome {document['outcome']}")
        at_once, left = truth.losses(), run_again(server, truth)
        later = truth.losses()
        lost += bool(at_once or later)
        unfinished += bool(left)
        wrong += [*at_once, *left, *later]
        if not wrong:
            shutil.rmtree(truth.root)
    summary = ", ".join(f"{code}: {times}" for code, times in sorted(codes.items()))
    note = f"exit codes {summary}; longest from signal to exit {longest:.2f} s"
    name = "SIGTERM or SIGINT at a random moment"
    figures.record(8, name, count, lost, note, unfinished=unfinished)
    assert wrong == []
    assert longest < 10


def _send(descriptor: int, name: str, sent: list[float]) -> None:
    sent.append(time.monotonic())
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, getattr(signal, f"SIG{name}"))
