"""The aims, and what was measured of each."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from benchmarks.beside import wait_beside
from benchmarks.product import TOOL
from benchmarks.report import Aim, Section
from benchmarks.suites import PROGRESS, REWRITING, RUN

BASE_BYTES = 64 * 1024 * 1024
BYTES_AN_ITEM = 300


def aims_of(sections: Sequence[Section]) -> list[Aim]:
    """The aims that these sections say something about."""
    by_name = {section.name: section for section in sections}
    found: list[Aim] = []
    if index := by_name.get("index"):
        found += index_aims(index)
    if rewrite := by_name.get("rewrite"):
        found.append(
            Aim(
                f"`run`, index, {rewrite.size:,} entries, 10 % expired",
                "at least 100 × faster than rewriting the index for each removal",
                rewrite.ratio(REWRITING),
                "× faster",
                100,
                at_least=True,
            )
        )
    found += memory_aims(sections)
    if looking := by_name.get("looking"):
        found.append(
            Aim(
                f"progress on a terminal, `run`, index, {looking.size:,} entries",
                "under 1 % of the time",
                looking.figures[PROGRESS] * 100,
                "%",
                1.0,
            )
        )
    if directory := by_name.get("directory"):
        found.append(
            Aim(
                f"`run`, no index, {directory.size:,} files, 10 % expired",
                "at most 1.0 × `find … -delete`",
                directory.ratio(RUN),
                "× find",
                1.0,
            )
        )
    for name, words, limit in (
        ("wal", "WAL", 0.030),
        ("delete", "rollback journal", 0.040),
    ):
        if requests := by_name.get(f"requests-{name}"):
            found += request_aims(requests, words, limit)
    if startup := by_name.get("startup"):
        found.append(
            Aim(
                "`stats --json` on a small cache",
                "at most 0.9 × `pip cache info`",
                startup.ratio(f"{TOOL} stats --json"),
                "× pip",
                0.9,
            )
        )
    return found + list(growth_aims(sections))


def index_aims(index: Section) -> list[Aim]:
    """The time of a run on a cache with an index, against the floor."""
    what = f"`run`, index, {index.size:,} entries, 10 % expired"
    return [
        Aim(
            f"{what}, everything on",
            "at most 2.0 × the C floor",
            index.ratio(RUN),
            "× floor",
            2.0,
        ),
        Aim(
            f"{what}, orphans off",
            "at most 1.5 × the C floor",
            index.ratio(f"{RUN}, orphans off"),
            "× floor",
            1.5,
        ),
    ]


def memory_aims(sections: Sequence[Section]) -> Iterator[Aim]:
    """The largest share of the memory allowed that any command took, in each section."""
    for section in sections:
        share = 100 if section.name.startswith("requests") else 10
        allowed = BASE_BYTES + BYTES_AN_ITEM * section.size // share
        peaks = {n: one.peak for n, one in section.results.items() if n.startswith(TOOL)}
        if peaks and not section.name.startswith("growth"):
            worst = max(peaks, key=lambda name: peaks[name])
            yield Aim(
                f"peak memory, {section.title.lower()}, {section.size:,}: `{worst}`",
                f"at most 64 MB and 300 bytes an item removed ({allowed / 1e6:.0f} MB)",
                peaks[worst] / 1e6,
                "MB",
                allowed / 1e6,
            )


def request_aims(requests: Section, words: str, limit: float) -> list[Aim]:
    """The writer's wait, and the time of the whole."""
    what = f"`run`, {requests.size:,} requests, 1 % abandoned, beside a writer ({words})"
    wait = requests.figures.get(wait_beside(RUN))
    return [
        Aim(
            what,
            f"the writer waits at most {limit * 1000:.0f} ms",
            None if wait is None else wait * 1000,
            "ms",
            limit * 1000,
        ),
        Aim(what, "at most 3 × one UPDATE", requests.ratio(RUN), "× one UPDATE", 3.0),
    ]


def growth_aims(sections: Sequence[Section]) -> Iterator[Aim]:
    """Ten times the entries: how many times the time, between each size and the next."""
    for kind in ("index", "directory"):
        line = [section for section in sections if section.name.startswith(f"growth-{kind}-")]
        steps = [
            larger.results[RUN].median / smaller.results[RUN].median
            for smaller, larger in pairwise(line)
        ]
        if steps:
            yield Aim(
                f"growth of `run`, {kind}, up to {line[-1].size:,}",
                "ten times the entries, at most eleven times the time",
                max(steps),
                "× the time",
                11,
            )
