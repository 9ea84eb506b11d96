"""Runs commands in alternation and keeps what each run cost."""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

LAUNCHER = (sys.executable, "-S", "-E", str(Path(__file__).with_name("timed.py")))
Trial = TypeVar("Trial", bound=Hashable)


class BenchmarkError(Exception):
    """A run that failed, or did not do the work that it was timed for: its time means nothing."""


@dataclass(frozen=True)
class Sample:
    """What one run cost: see timed.py. ``wait``: the worst wait of a writer beside it (s)."""

    seconds: float
    cpu: float
    written: int
    peak: int
    wait: float | None = None


@dataclass(frozen=True)
class Command:
    """What to start; ``environment`` is added to this process's own."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """The median of some runs, and their lowest and highest."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class Summary:
    """What some runs cost: time, processor seconds and waits in seconds, the median of the bytes
    written, the largest peak."""

    seconds: Spread
    cpu: Spread
    wait: Spread | None
    written: float
    peak: int
    runs: int


def summarise(samples: Sequence[Sample]) -> Summary:
    """What some runs of the same command cost."""
    waits = [sample.wait for sample in samples if sample.wait is not None]
    return Summary(
        spread([sample.seconds for sample in samples]),
        spread([sample.cpu for sample in samples]),
        spread(waits) if waits else None,
        statistics.median(sample.written for sample in samples),
        max(sample.peak for sample in samples),
        len(samples),
    )


def spread(values: Sequence[float]) -> Spread:
    """The median, the lowest and the highest."""
    return Spread(statistics.median(values), min(values), max(values))


def alternate(
    trials: Mapping[Trial, tuple[int, Callable[[], Sample]]],
) -> dict[Trial, Summary]:
    """Run each trial as often as it says, in turn: A B C, B C A, …

    What slows the machine for a while slows all of them, so that the ratios hold. One with fewer
    runs than others takes part in some of the turns, spread evenly.
    """
    turns = max(runs for runs, _ in trials.values())
    samples: dict[Trial, list[Sample]] = {name: [] for name in trials}
    order = list(trials)
    for turn in range(turns):
        for name in order:
            runs, run_one = trials[name]
            if turn * runs // turns != (turn + 1) * runs // turns:
                samples[name].append(run_one())
        order = [*order[1:], order[0]]
    return {name: summarise(found) for name, found in samples.items()}


def timed(command: Command, accepted: tuple[int, ...] = (0,)) -> Sample:
    """Run ``command`` through timed.py; raises ``BenchmarkError`` where it does not end well."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        done = subprocess.run(
            [*LAUNCHER, str(report), *command.argv],
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        text = report.read_text() if report.exists() else ""
    last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    if not text:
        raise BenchmarkError(f"cannot time {command.argv[0]}: {last}")
    seconds, cpu, written, peak, status = text.split()
    if int(status) not in accepted:
        raise BenchmarkError(f"{' '.join(command.argv)} ended with {status}: {last}")
    return Sample(float(seconds), float(cpu), int(written), int(peak))
