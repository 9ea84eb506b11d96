"""What was measured, as tables for a reader and as one JSON document."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.measure import Results

MB = 1_000_000
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"
"""What lies between these marks in a document is written by a measurement."""


@dataclass(frozen=True)
class Section:
    """One benchmark: what was run on how many items, and against which contender to count.

    `figures` holds what is not a time or a peak: waits in seconds, counts, shares.
    """

    name: str
    title: str
    size: int
    results: Results
    against: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)

    def ratio(self, contender: str, to: str | None = None) -> float | None:
        """How many times as long `contender` took as `to`; `None` where one of them is missing."""
        other = self.results.get(to or self.against or "")
        one = self.results.get(contender)
        return one.median / other.median if one and other else None


@dataclass(frozen=True)
class Aim:
    """One line of the table of aims. `measured` is `None` where a contender was missing."""

    what: str
    aim: str
    measured: float | None
    unit: str
    limit: float
    at_least: bool = False

    @property
    def reached(self) -> bool | None:
        """Whether the aim was reached in this run; `None` where it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True)
class Report:
    """Everything that one call of the benchmark measured."""

    size: int
    ground: str
    absent: Sequence[str]
    sections: Sequence[Section]
    aims: Sequence[Aim]


def machine() -> dict[str, str | int]:
    """What it was measured on."""
    return {
        "processors": len(os.sched_getaffinity(0)),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
    }


def read_aims(document: str) -> list[Aim]:
    """The aims of a JSON document that `as_json` made."""
    found = json.loads(document)["aims"]
    return [Aim(**{name: one[name] for name in one if name != "reached"}) for one in found]


def as_json(report: Report, made_at: str) -> str:
    """The whole report as one JSON document; times in seconds, memory in bytes."""
    document = {
        "version": 1,
        "made_at": made_at,
        "machine": {**machine(), "file_system": report.ground},
        "absent": list(report.absent),
        "size": report.size,
        "aims": [{**asdict(aim), "reached": aim.reached} for aim in report.aims],
        "sections": [
            {
                **asdict(section),
                "ratios": {name: section.ratio(name) for name in section.results},
            }
            for section in report.sections
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def as_markdown(report: Report, made_at: str) -> str:
    """The report for a reader: the aims first, then each benchmark's table."""
    facts = machine()
    lines = [
        f"Measured {made_at[:10]} on {facts['processors']} processors, Linux {facts['kernel']},"
        f" Python {facts['python']}; {report.ground}.",
        "Medians of runs in alternation on fresh copies. Quote the ratios, not the times.",
    ]
    if report.absent:
        lines.append(f"Not here, so not compared: {', '.join(report.absent)}.")
    if report.aims:
        lines += ["", *aims_table(report.aims)]
    for section in report.sections:
        lines += ["", *section_table(section)]
    return "\n".join(lines) + "\n"


def replaced(file: Path, text: str) -> str:
    """What `file` becomes when `text` is written to it: between its marks, where it has them."""
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
    lines = [f"### {section.title} ({section.size:,})", ""]
    against = f"× {section.against}" if section.against else "ratio"
    lines += [
        f"| contender | median s | lowest – highest | {against} | peak MB | runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in section.results.items():
        ratio = section.ratio(name)
        lines.append(
            f"| {name} | {one.median:.3f} | {one.lowest:.3f} – {one.highest:.3f}"
            f" | {'' if ratio is None else f'{ratio:.2f}'} | {one.peak / MB:.0f} | {one.runs} |"
        )
    if section.figures:
        lines += [
            "",
            *(f"- {name}: {value:.4g}" for name, value in section.figures.items()),
        ]
    return lines
