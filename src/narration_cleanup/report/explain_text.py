"""Why one item is kept or removed, for a reader: lines of label and value."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from narration_cleanup.core.model import Problem, ReadTime, Target
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.core.zones import UTC, zone_text
from narration_cleanup.plan.actions import Kind, Outcome
from narration_cleanup.plan.explain import Explanation
from narration_cleanup.report.format import clock, columns, sizes_up_to
from narration_cleanup.report.run_record import RunItem
from narration_cleanup.report.streams import write_labelled
from narration_cleanup.report.summary import problem_line

_LABEL = 15
"""Columns that a label has."""
_KNOWN_BY = {
    "setting": ", as it is set",
    "proof": ", as the newest times prove",
    "open": ": the later that is not in the future",
    "local": ", which is the local time",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """The explanation of ``asked``, as of ``generated_at`` (an instant).

    ``history`` is what runs did with it, the newest first; ``unsurveyed`` the targets that are
    configured and could not be looked at.
    """

    asked: str
    generated_at: float
    items: Sequence[Explanation] = ()
    history: Sequence[RunItem] = ()
    problems: Sequence[Problem] = ()
    next_run_at: float | None = None
    unsurveyed: Sequence[Target] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether there is anything of that name, or was."""
        return bool(self.items or self.history)


def decision_of(item: Explanation) -> str:
    """What a run would do with it now, in a word."""
    return "keep" if item.kind is None else item.kind.value.verb


def show_explained(
    explained: Explained, stream: TextIO | None = None, *, width: int | None = None
) -> None:
    """Show it as lines, on a terminal wrapped at ``width`` columns (``None`` asks the terminal)."""
    stream = sys.stdout if stream is None else stream
    width = columns(stream) if width is None else width
    write_labelled(_blocks(explained), _LABEL, stream, width)


def _blocks(explained: Explained) -> Iterator[list[tuple[str, str]]]:
    for item in explained.items:
        yield list(_item_lines(item, explained))
    if not explained.items:
        gone = "there is nothing of that name now"
        if explained.unsurveyed:
            where = " and ".join(explained.unsurveyed)
            gone = f"whether there is such an item now is not known: no look at the {where}"
        yield [("name", printable(explained.asked)), ("now", gone)]
    if explained.history:
        yield [(f"run {item.run}", _in_run(item)) for item in explained.history]
    if explained.problems:
        yield [(each.severity.value, problem_line(each)) for each in explained.problems]


def _item_lines(item: Explanation, explained: Explained) -> Iterator[tuple[str, str]]:
    if item.target is Target.REQUESTS:
        yield "request", printable(item.id)
        yield "status", printable(item.status)
    elif item.is_entry:
        yield "entry", printable(item.id)
        if item.file is not None and item.file != item.id:
            yield "file", printable(item.file)
    else:
        yield "file", printable(item.file)
    why = f" ({item.reason.value})" if item.reason is not None and item.kind is not None else ""
    yield "decision", f"{decision_of(item)}{why}: {printable_line(item.detail)}"
    if item.due_at is not None:
        yield "due", _due(item, explained)
    if item.rule is not None:
        yield "rule", item.rule
    for note in item.notes:
        yield "note", printable_line(note)
    if item.size_bytes is not None:
        yield "size", sizes_up_to(item.size_bytes)(item.size_bytes)
    for label, value in (("voice style", item.voice_style), ("variant", item.variant_id)):
        if value:
            yield label, printable(value)
    for time in item.times:
        yield time.name, _read(time, explained.generated_at)


def _due(item: Explanation, explained: Explained) -> str:
    due = item.due_at or 0.0
    verb = "removes" if item.reason is None else f"{item.reason.kind.value.verb}s"
    if due <= explained.generated_at:
        due, begun = explained.generated_at, f"since {clock(due)}"
    else:
        begun = f"after {clock(due)}"
    if item.kind is None and due <= explained.generated_at:
        return f"{begun}, by its age ({item.reason})"
    text = f"{begun}: the next run {verb} it ({item.reason})"
    if explained.next_run_at is not None and due <= explained.next_run_at:
        text += f"; a run is due at {clock(explained.next_run_at)}"
    return text


def _read(time: ReadTime, now: float) -> str:
    if time.instant is None and time.written is None:
        return "not set"
    read = "cannot be read as a time"
    if time.instant is not None:
        read = clock(time.instant, "%H:%M:%S")
    if time.written is None:
        where = "the object's" if time.source == "object" else f"the file's {time.name}"
        return read if time.source == "file" else f"{read}, {where} own"
    how = ""
    if time.zone is not None and time.known_by is not None:
        zone = zone_text(time.zone, now)
        is_one = time.known_by == "open" and zone == UTC
        known = _KNOWN_BY["local" if is_one else time.known_by]
        how = f", read in {zone}{known}"
    elif time.known_by == "offset":
        how = ", with its own offset"
    return f"{read}: {printable(time.written)} in the {time.source}{how}"


def _in_run(item: RunItem) -> str:
    done = item.outcome
    if done == Outcome.DONE and item.kind.upper() in Kind.__members__:
        done = Kind[item.kind.upper()].value.done.lower()
    what = "" if item.file in (None, item.name) else f" (file {printable(item.file)})"
    return f"{clock(item.at)}: {printable(done)} {printable(item.name)}{what}: {item.why}"
