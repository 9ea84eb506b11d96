"""What was measured: one JSON document, the aims beside it, and tables for a reader."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.measure import Summary
from benchmarks.trees import FORMS, PLAIN

MB = 1_000_000
BASE_BYTES, BYTES_AN_ITEM = 64 * 1024 * 1024, 300
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
"""What lies between these marks in a document is written by a measurement."""
RUN, FLOOR, FIND, PIP = "run", "C floor", "find -delete", "pip cache info"
LOOKS = ("stats", "dry-run")
"""What begins the names of commands that remove nothing."""
LINEAR = ("in one line", "1 % with NaN")
"""The forms whose growth is an aim: the commonest, and the dearest."""
ONE_UPDATE, NOTHING = "one UPDATE", "nothing"
REWRITING = "index rewritten for each removal"
JournalMode = Literal["wal", "delete"]
JOURNAL_MODES: dict[JournalMode, str] = {"wal": "WAL", "delete": "rollback journal"}
KINDS = {"index": "index", "directory": "no index"}
"""The clean-ups of caches, by the name of their sections."""


@dataclass(frozen=True)
class Section:
    """One benchmark at one size: its results by contender, and against which to count them.

    ``processors``: those that it was allowed to run on; ``measured_at``: when the measurement
    began, which is the same for all that was measured together (ISO 8601, UTC).
    """

    name: str
    title: str
    size: int
    results: dict[str, Summary]
    against: str | None
    processors: list[int]
    measured_at: str

    def median(self, contender: str, what: str = "seconds") -> float | None:
        """The median of a contender; ``None`` where it is missing."""
        found = getattr(self.results.get(contender), what, None)
        return None if found is None else float(getattr(found, "median", found))

    def ratio(self, contender: str, to: str | None, what: str = "seconds") -> float | None:
        """How many times as much ``contender`` took as ``to``."""
        return over(self.median(contender, what), self.median(to or "", what))


@dataclass(frozen=True)
class Report:
    """Everything that was measured; ``ground`` is the file system of what was measured last."""

    kernel: str
    python: str
    ground: str
    sections: list[Section]

    def section(self, name: str, size: int | None = None) -> Section | None:
        """The section of that name and size, or the largest."""
        found = [one for one in self.sections if one.name == name and size in (None, one.size)]
        return max(found, key=lambda one: one.size, default=None)


@dataclass(frozen=True)
class Aim:
    """One aim, and what was measured; ``headline``: one of the few that the README shows."""

    what: str
    aim: str
    measured: float | None
    unit: str
    limit: float
    at_least: bool = False
    headline: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the aim was reached; ``None`` where it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


def over(one: float | None, other: float | None) -> float | None:
    """The ratio of two that may be missing."""
    return one / other if one is not None and other else None


def report_of(ground: str, sections: list[Section], before: Path | None) -> Report:
    """A report; of the one in the file ``before``, what was not measured anew is kept.

    Sections of the same name follow each other, the smallest first.
    """
    kept = read_report(before.read_bytes()).sections if before and before.exists() else []
    found = {(one.name, one.size): one for one in (*kept, *sections)}
    names = list(dict.fromkeys(one.name for one in (*kept, *sections)))
    ordered = sorted(found.values(), key=lambda one: (names.index(one.name), one.size))
    kernel = ".".join(platform.release().split(".")[:2])
    return Report(kernel, platform.python_version(), ground, ordered)


def read_report(document: str | bytes) -> Report:
    """The report of a JSON document."""
    return msgspec.json.decode(document, type=Report)


def as_json(report: Report) -> bytes:
    """The report as a JSON document; times in seconds, memory in bytes."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"


def aims_of(report: Report) -> list[Aim]:
    """The aims that this report says something about."""
    return [*clean_up_aims(report), *other_aims(report), *memory_aims(report)]


def clean_up_aims(report: Report) -> Iterator[Aim]:
    """Of `run` on a cache, alone against what does the least, and growing."""
    for name, peer, slower, dearer in (("directory", FIND, 1.8, 2.0), ("index", FLOOR, 3.0, 4.0)):
        if largest := report.section(name):
            what = f"`run`, {KINDS[name]}, {largest.size:,} files, 10 % expired"
            for measure, words, limit in (
                ("seconds", "the time", slower),
                ("cpu", "the processor seconds", dearer),
            ):
                ratio = largest.ratio(RUN, peer, measure)
                aim = f"at most {limit} × {words} of {peer}"
                yield Aim(what, aim, ratio, "×", limit, headline=measure == "cpu")
    for name, kind in KINDS.items():
        for large, small, limit in ((100_000, 1_000, 5.0), (20_000, 60, 2.0)):
            one, other = report.section(name, large), report.section(name, small)
            if one and other and one.measured_at == other.measured_at:
                ratio = over(one.median(RUN), other.median(RUN))
                aim = f"at most {limit:g} × the time of `run` on {small:,}"
                yield Aim(f"`run`, {kind}, {large:,}", aim, ratio, "×", limit)
        yield from growth_aims(report, name, RUN, f"`run`, {kind}")


def growth_aims(report: Report, name: str, contender: str, what: str) -> Iterator[Aim]:
    """Of a contender at ten times a size that was measured together: the worst of these steps."""
    found = [one for one in report.sections if one.name == name]
    steps = [
        (ratio, large.size)
        for small in found
        for large in found
        if large.size == 10 * small.size
        and large.measured_at == small.measured_at
        and (ratio := over(large.median(contender), small.median(contender)))
    ]
    if steps:
        what += f", up to {max(size for _, size in steps):,}"
        aim = "ten times the entries, at most 11 × the time"
        yield Aim(what, aim, max(steps)[0], "×", 11.0)


def other_aims(report: Report) -> Iterator[Aim]:
    """Of the forms, the requests, and the start."""
    if rewrite := report.section("rewrite"):
        ratio = over(rewrite.median(REWRITING), rewrite.median(RUN))
        what, aim = f"`run`, index, {rewrite.size:,} entries", "at least 100 × faster than "
        yield Aim(
            what, aim + "rewriting it for each removal", ratio, "× faster", 100, at_least=True
        )
    forms = [one for one in report.sections if one.name == "forms"]
    for name in list(FORMS)[1:]:
        for measure, aim, limit in (
            ("seconds", "at most 1.5 × the time of the indented form", 1.5),
            ("peak", "no more memory (5 %)", 1.05),
        ):
            ratios = [(one.ratio(name, PLAIN, measure), one.size) for one in forms]
            if those := [(ratio, size) for ratio, size in ratios if ratio is not None]:
                worst, at = max(those)
                up_to = f"up to {max(size for _, size in those):,}"
                yield Aim(f"`run`, index {name}, {up_to}, worst at {at:,}", aim, worst, "×", limit)
        if name in LINEAR:
            yield from growth_aims(report, "forms", name, f"`run`, index {name}")
    for (mode, words), most in zip(JOURNAL_MODES.items(), (3.0, 4.0), strict=True):
        if one := report.section(f"requests-{mode}"):
            what = f"`run`, {one.size:,} requests, 1 % abandoned, beside a writer ({words})"
            beside, alone = one.median(RUN, "wait"), one.median(NOTHING, "wait")
            longer = None if beside is None or alone is None else (beside - alone) * 1000
            aim = "worst wait at most 10 ms longer than beside nothing"
            yield Aim(what, aim, longer, "ms", 10.0, headline=mode == "wal")
            ratio = one.ratio(RUN, ONE_UPDATE)
            yield Aim(what, f"at most {most:g} × one UPDATE", ratio, "×", most)
    if startup := report.section("startup"):
        ratio = startup.ratio("stats --json", PIP)
        what, aim = (
            "`stats --json --cache-dir …` on a small cache",
            "at most 0.9 × `pip cache info`",
        )
        yield Aim(what, aim, ratio, "×", 0.9, headline=True)


def memory_aims(report: Report) -> Iterator[Aim]:
    """The commands of this version that came closest to the memory that is allowed, of those that
    remove something and of those that only look; the README shows the worse of the two."""
    found: list[tuple[float, bool, str, int]] = []
    for section in report.sections:
        share = 100 if section.name.startswith("requests") else 10
        for name, one in section.results.items():
            looks = name.startswith(LOOKS)
            allowed = BASE_BYTES + BYTES_AN_ITEM * (0 if looks else section.size // share)
            if name in FORMS or (name.startswith((RUN, *LOOKS)) and not name[-1].isdigit()):
                what = f"`{name}`, {section.title}, {section.size:,}"
                found.append((one.peak / allowed, looks, what, one.peak))
    for words, looks in (("remove", False), ("only look", True)):
        if those := [one for one in found if one[1] is looks]:
            part, _, what, peak = worst = max(those)
            limit = peak / part / MB
            aim = f"at most 64 MiB and 300 bytes an item removed ({limit:.0f} MB)"
            what = f"peak memory of commands that {words}, the worst: {what}"
            yield Aim(what, aim, peak / MB, "MB", limit, headline=worst == max(found))


def as_markdown(report: Report) -> str:
    """The report for a reader: the aims first, then each benchmark's table."""
    dates = sorted({one.measured_at[:10] for one in report.sections})
    lines = [
        f"Measured {' to '.join(dates if len(dates) < 2 else (dates[0], dates[-1]))}, the last on"
        f" Linux {report.kernel}, Python {report.python}; {report.ground}.",
        "",
        *aims_table(aims_of(report)),
    ]
    for section in report.sections:
        lines += ["", *section_table(section)]
    return "\n".join(lines) + "\n"


def replaced(file: Path, text: str) -> str:
    """What ``file`` becomes when ``text`` is written to it: between its marks, if it has them."""
    old = file.read_text(encoding="utf-8") if file.exists() else ""
    if BEGIN not in old or END not in old:
        return text
    before, rest = old.split(BEGIN, 1)
    return f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}"


def aims_table(aims: Sequence[Aim]) -> list[str]:
    """The aims with a measured column, as a Markdown table."""
    lines = ["| what | aim | measured | reached |", "|---|---|---|---|"]
    words = {True: "yes", False: "no", None: "not measured"}
    for aim in aims:
        measured = "" if aim.measured is None else f"{aim.measured:.3g} {aim.unit}"
        lines.append(f"| {aim.what} | {aim.aim} | {measured} | {words[aim.reached]} |")
    return lines


def section_table(section: Section) -> list[str]:
    """One benchmark as a Markdown table."""
    where = f"processors {', '.join(map(str, section.processors))}"
    has_waits = any(one.wait for one in section.results.values())
    against = section.against
    ratios = ["× time", "× processor"] if against else []
    heads = ["time s", "processor s", *ratios, *(["worst wait ms"] if has_waits else [])]
    lines = [
        f"### {section.title}: {section.size:,}",
        "",
        "| " + " | ".join(("", *heads, "written MB", "peak MB", "runs")) + " |",
        "|---|" + "---|" * (len(heads) + 3),
    ]
    for name, one in section.results.items():
        cells = [name]
        for spread in (one.seconds, one.cpu):
            cells.append(f"{spread.median:.3f} ({spread.lowest:.3f} – {spread.highest:.3f})")
        if against:
            for what in ("seconds", "cpu"):
                ratio = section.ratio(name, against, what)
                cells.append("" if ratio is None else f"{ratio:.2f}")
        if has_waits:
            waits = [one.wait.median, one.wait.lowest, one.wait.highest] if one.wait else []
            cells.append("{:.0f} ({:.0f} – {:.0f})".format(*(1000 * wait for wait in waits)))
        cells += [f"{one.written / MB:.1f}", f"{one.peak / MB:.0f}", str(one.runs)]
        lines.append("| " + " | ".join(cells) + " |")
    where += f"; measured {section.measured_at[:10]}."
    lines += ["", f"Against {against}; {where}" if against else f"On {where}"]
    return lines
