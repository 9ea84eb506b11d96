"""Runs commands in alternation and keeps what each run cost."""

import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class BenchmarkError(Exception):
    """A run that failed, or did not do the work that it was timed for: its time means nothing."""


@dataclass(frozen=True)
class Sample:
    """One run: wall-clock seconds, and the largest resident set in bytes."""

    seconds: float
    peak: int


@dataclass(frozen=True)
class Command:
    """What to start; `environment` is added to this process's own.

    `accepted` holds the exit codes that mean that the work was done.
    """

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    accepted: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Contender:
    """One of those compared: what to start on a fresh copy, and how to see that it did the work."""

    name: str
    command: Callable[[Path], Command]
    check: Callable[[Path], None]


@dataclass(frozen=True)
class Summary:
    """What one contender's runs cost: median and spread in seconds, the worst peak in bytes."""

    median: float
    lowest: float
    highest: float
    peak: int
    runs: int


def summarise(samples: Sequence[Sample]) -> Summary:
    """The median time of some runs, and their largest peak."""
    times = [sample.seconds for sample in samples]
    return Summary(
        statistics.median(times),
        min(times),
        max(times),
        max(sample.peak for sample in samples),
        len(times),
    )


Results = dict[str, Summary]


def alternate(
    contenders: Sequence[Contender], run_one: Callable[[Contender], Sample], runs: int
) -> Results:
    """Run each contender `runs` times, in turn: A B C, B C A, …

    What slows the machine for a while slows all of them, so that the ratios hold.
    """
    samples: dict[str, list[Sample]] = {one.name: [] for one in contenders}
    for turn in range(runs):
        start = turn % len(contenders)
        for one in (*contenders[start:], *contenders[:start]):
            samples[one.name].append(run_one(one))
    return {name: summarise(found) for name, found in samples.items()}


def timed(launcher: Sequence[str], command: Command) -> Sample:
    """Run `command` through the small `launcher` (see timed.c), and read what it reports."""
    environment = {**os.environ, **command.environment}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report")
        done = subprocess.run(
            [*launcher, str(report), *command.argv],
            env=environment,
            cwd=command.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        text = report.read_text() if report.exists() else ""
    if not text:
        raise BenchmarkError(f"cannot time {command.argv[0]}: {last_line(done.stderr)}")
    seconds, kilobytes, status = text.split()
    if int(status) not in command.accepted:
        raise BenchmarkError(f"{command.argv[0]} ended with {status}: {last_line(done.stderr)}")
    return Sample(float(seconds), int(kilobytes) * 1024)


def last_line(output: bytes) -> str:
    """The last line of what a command wrote to stderr, to name in an error."""
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
