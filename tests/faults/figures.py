"""What was tried and what was lost, counted by the proofs and kept for the published table."""

from __future__ import annotations

import json
import platform
import re
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / ".cache" / "faults.json"
"""Where a session keeps what it counted."""
PUBLISHED = Path(__file__).with_name("published.json")
"""The figures of a full session: what the documents show."""
DOCUMENTS = ("docs/faults.md",)
_PLACE = re.compile(r"(<!-- figures: (all|short) -->\n).*?(<!-- end of figures -->)", re.DOTALL)


@dataclass(frozen=True)
class Figure:
    """One proof: what was done to how many runs or items, and what was lost by it.

    `unfinished`: after how many the next run did not finish; `None` where no next run was made.
    """

    order: int
    fault: str
    tries: int
    losses: int
    note: str = ""
    unfinished: int | None = None


@dataclass
class Figures:
    """The figures of one session of tests."""

    full: bool
    folder: Path
    found: list[Figure] = field(default_factory=list)

    def record(
        self,
        order: int,
        fault: str,
        tries: int,
        losses: int,
        note: str = "",
        *,
        unfinished: int | None = None,
    ) -> None:
        """Add a proof's figures, and keep what there is; `order` is its place in the table."""
        self.found.append(Figure(order, fault, tries, losses, note, unfinished))
        self.write()

    def write(self, path: Path = FIGURES) -> None:
        """Keep them, with where and when they were measured."""
        path.parent.mkdir(exist_ok=True)
        document = {
            "full": self.full,
            "on": f"{datetime.now(UTC):%Y-%m-%d}",
            "where": f"Linux {'.'.join(platform.release().split('.')[:2])}, "
            f"Python {platform.python_version()}, files on {_file_system_of(self.folder)}",
            "figures": [asdict(figure) for figure in sorted(self.found, key=lambda f: f.order)],
        }
        path.write_text(json.dumps(document, indent=2) + "\n")


def _file_system_of(folder: Path) -> str:
    """The type of the file system that `folder` lies on, as /proc/mounts has it."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(place, kind) for place, kind in mounts if folder.is_relative_to(place)]
    return max(above, key=lambda mount: len(mount[0]))[1]


def table(path: Path = FIGURES, *, notes: bool = True) -> str:
    """The kept figures as a Markdown table, with or without what else was counted."""
    document = json.loads(path.read_text())
    command = f"python3 dev.py faults{' --full' if document['full'] else ''}"
    lines = [
        f"Measured on {document['on']} ({document['where']}) by `{command}`:",
        "",
        f"| fault | tries | losses | next runs that do not finish |{' besides |' if notes else ''}",
        f"|---|---:|---:|---:|{'---|' if notes else ''}",
    ]
    for found in document["figures"]:
        unfinished = found.get("unfinished")
        left = "" if unfinished is None else f"{unfinished:,}"
        row = f"| {found['fault']} | {found['tries']:,} | {found['losses']:,} | {left} |"
        lines.append(f"{row} {found['note']} |" if notes else row)
    return "\n".join(lines)


def published(*, notes: bool) -> str:
    """The published figures as a table."""
    return table(PUBLISHED, notes=notes)


def with_figures(text: str) -> str:
    """A document's text with the published figures in their place."""

    def place(found: re.Match[str]) -> str:
        return f"{found[1]}\n{published(notes=found[2] == 'all')}\n\n{found[3]}"

    return _PLACE.sub(place, text)


def publish() -> None:
    """Publish what the last session counted: keep it, and write it into the documents."""
    if FIGURES.exists():
        shutil.copy(FIGURES, PUBLISHED)
    for name in DOCUMENTS:
        document = ROOT / name
        document.write_text(with_figures(document.read_text()))


if __name__ == "__main__":
    publish()
