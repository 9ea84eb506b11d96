"""What was measured: one JSON document, the aims beside it, and tables for a reader."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

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
ONE_UPDATE, NOTHING = "one UPDATE", "nothing"
REWRITING = "index rewritten for each removal"


@dataclass(frozen=True)
class Section:
    """One benchmark at one size: its results by contender, and against which to count them.

    ``processors``: those that it was allowed to run on.
    """

    name: str
    title: str
    size: int
    results: dict[str, Summary]
    against: str | None
    processors: list[int]

    def median(self, contender: str, what: str = "seconds") -> float | None:
        """The median of a contender; ``None`` where it is missing."""
        one = self.results.get(contender)
        spread = getattr(one, what, None)
        return None if spread is None else float(spread.median)

    def ratio(self, contender: str, to: str | None, what: str = "seconds") -> float | None:
        """How many times as much ``contender`` took as ``to``."""
        return over(self.median(contender, what), self.median(to or "", what))


@dataclass(frozen=True)
class Report:
    """Everything that was measured; ``ground`` is the file system."""

    made_at: str
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


def report_of(made_at: str, ground: str, sections: list[Section], before: Path | None) -> Report:
    """A report; of the one in the file ``before``, what was not measured anew is kept."""
    measured = {(one.name, one.size) for one in sections}
    if before and before.exists():
        kept = read_report(before.read_bytes()).sections
        sections = [one for one in kept if (one.name, one.size) not in measured] + sections
    kernel = ".".join(platform.release().split(".")[:2])
    return Report(made_at, kernel, platform.python_version(), ground, sections)


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
            kind = "index" if name == "index" else "no index"
            what = f"`run`, {kind}, {largest.size:,} files, 10 % expired"
            for measure, words, limit in (
                ("seconds", "the time", slower),
                ("cpu", "the processor seconds", dearer),
            ):
                ratio = largest.ratio(RUN, peer, measure)
                aim = f"at most {limit} × {words} of {peer}"
                yield Aim(what, aim, ratio, "×", limit, headline=measure == "cpu")
    for name in ("index", "directory"):
        for large, small, limit in ((100_000, 1_000, 5.0), (20_000, 60, 2.0)):
            one, other = report.section(name, large), report.section(name, small)
            if one and other:
                kind = "index" if name == "index" else "no index"
                ratio = over(one.median(RUN), other.median(RUN))
                aim = f"at most {limit:g} × the time of `run` on {small:,}"
                yield Aim(f"`run`, {kind}, {large:,}", aim, ratio, "×", limit)
        line = [one for one in report.sections if one.name == name and one.size in TENS]
        steps = [over(b.median(RUN), a.median(RUN)) for a, b in pairwise(line)]
        if line and steps:
            what = f"`run`, {'index' if name == 'index' else 'no index'}, up to {line[-1].size:,}"
            worst = max(step or 0 for step in steps)
            yield Aim(what, "ten times the entries, at most 11 × the time", worst, "×", 11.0)


TENS = tuple(10**power for power in range(3, 10))


def other_aims(report: Report) -> Iterator[Aim]:
    """Of the forms, the requests, and the start."""
    if rewrite := report.section("rewrite"):
        ratio = over(rewrite.median(REWRITING), rewrite.median(RUN))
        what, aim = f"`run`, index, {rewrite.size:,} entries", "at least 100 × faster than "
        yield Aim(
            what, aim + "rewriting it for each removal", ratio, "× faster", 100, at_least=True
        )
    for name in list(FORMS)[1:]:
        those = [one for one in report.sections if one.name == "forms" and name in one.results]
        for forms in those[-1:]:
            what = f"`run`, index {name}, {forms.size:,}"
            ratio = forms.ratio(name, PLAIN)
            yield Aim(what, "at most 1.5 × the time of the indented form", ratio, "×", 1.5)
            memory = over(forms.results[name].peak, forms.results[PLAIN].peak)
            yield Aim(what, "no more memory (5 %)", memory, "×", 1.05)
    for name, words, most in (("wal", "WAL", 3.0), ("delete", "rollback journal", 4.0)):
        if one := report.section(f"requests-{name}"):
            what = f"`run`, {one.size:,} requests, 1 % abandoned, beside a writer ({words})"
            beside, alone = one.median(RUN, "wait"), one.median(NOTHING, "wait")
            longer = None if beside is None or alone is None else (beside - alone) * 1000
            aim = "worst wait at most 10 ms longer than beside nothing"
            yield Aim(what, aim, longer, "ms", 10.0, headline=name == "wal")
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
    """The command of this version that came closest to the memory that is allowed."""
    worst: tuple[float, str, float, int] | None = None
    for section in report.sections:
        share = 100 if section.name.startswith("requests") else 10
        for name, one in section.results.items():
            removed = 0 if name.startswith(LOOKS) else section.size // share
            allowed = BASE_BYTES + BYTES_AN_ITEM * removed
            if name.startswith((RUN, *LOOKS, *FORMS)) and not name[-1].isdigit():
                found = (
                    one.peak / allowed,
                    f"`{name}`, {section.title}",
                    float(one.peak),
                    section.size,
                )
                worst = max(worst or found, found)
    if worst:
        part, what, peak, size = worst
        limit = peak / part / MB
        aim = f"at most 64 MB and 300 bytes an item removed ({limit:.0f} MB)"
        what = f"peak memory, worst of all: {what}, {size:,}"
        yield Aim(what, aim, peak / MB, "MB", limit, headline=True)


def as_markdown(report: Report) -> str:
    """The report for a reader: the aims first, then each benchmark's table."""
    lines = [
        f"Measured {report.made_at[:10]}; Linux {report.kernel}, Python {report.python};"
        f" {report.ground}.",
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
    lines += ["", f"Against {against}; {where}." if against else f"On {where}."]
    return lines
