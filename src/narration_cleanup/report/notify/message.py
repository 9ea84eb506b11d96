"""The message about a run's end, and whether to send it. Pure: a record in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.errors import TROUBLESHOOTING
from narration_cleanup.core.text import printable
from narration_cleanup.report.alert_policy import FAILURES, Attention, Change
from narration_cleanup.report.format import clock, without_audio
from narration_cleanup.report.run_record import RunRecord
from narration_cleanup.report.summary import problem_line

Level = Literal["success", "warning", "failure", "info"]

PROBLEMS_SHOWN = 5
_PARTS = frozenset({RunOutcome.PARTIAL.value, RunOutcome.INTERRUPTED.value})
_NEEDED = {Change.LASTS: "has been needed", Change.ENDS: "was needed"}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a title of one line, and a body of a few."""

    title: str
    body: str
    level: Level


def wanted(outcome: str, on: str, found: Attention | None) -> bool:
    """Whether ``alerts.on`` asks for a message about a run that ended so; ``found`` is what it
    changed (see ``attention``).

    A run that was asked to stop did a part of its work. One that found the lock held did not fail:
    the run that holds it will report.
    """
    if on == "attention":
        return found is not None
    if on == "always" or outcome in FAILURES:
        return True
    return on == "partial" and outcome in _PARTS


def message_of(
    record: RunRecord,
    host: str,
    *,
    unit: str | None = None,
    lines: Sequence[str] = (),
    found: Attention | None = None,
) -> Message:
    """The message about a run on ``host``; ``lines`` are the last of its log, if there is one, and
    ``found`` is what the run changed, where that is why the message is sent."""
    what = "narration-cleanup" if unit is None else unit
    ended = record.outcome
    body = list[str]()
    if found is not None:
        ended = f"{found.change} ({record.outcome})"
        if found.change is not Change.BEGINS:
            body.append(f"The operator {_NEEDED[found.change]} since {clock(found.since)}.")
    head = record.message or f"The run ended: {record.outcome}"
    if record.exit_code is not None:
        head += f" (exit code {record.exit_code})"
    body += [head, *_counts(record)]
    body += _problems(record)
    if lines:
        body += ["", "Last lines of the log:", *lines]
    more = f"narration-cleanup history show {record.id}" if record.id else "run it by hand"
    body += ["", f"More: {more if unit is None else f'journalctl -u {unit}'}"]
    if record.problems or not record.success:
        body.append(f"What to do, by the code in brackets: {TROUBLESHOOTING}")
    level: Level = "failure" if record.outcome in FAILURES else "warning"
    return Message(
        f"{what} on {printable(host)}: {ended}",
        "\n".join(body),
        "success" if record.success else level,
    )


def trial_message(host: str) -> Message:
    """What ``notify --test`` sends."""
    return Message(
        f"narration-cleanup on {printable(host)}: a trial message",
        "This is what `narration-cleanup notify --test` sends: alerts from here arrive.",
        "info",
    )


def summary_lines(record: RunRecord) -> list[str]:
    """A run in a few plain lines: what a ping carries."""
    return [record.message or record.outcome, *_counts(record), *_problems(record)]


def _counts(record: RunRecord) -> list[str]:
    """What was done; nothing where nothing was, as in a run that could not start."""
    done = []
    if record.removed_count or record.cache_state is not None:
        removed = f"{record.removed_count}{without_audio(record.without_file)}"
        freed = record.freed_bytes / 2**20
        done.append(f"Removed from the cache: {removed}, freed {freed:.2f} MB")
    if record.cancelled_count or record.requests_by_status is not None:
        done.append(f"Abandoned requests cancelled: {record.cancelled_count}")
    if record.failed_count:
        done.append(f"Failed: {record.failed_count}")
    return done


def _problems(record: RunRecord) -> list[str]:
    shown = [
        f"{problem.severity.value}: {problem_line(problem)}"
        for problem in record.problems[:PROBLEMS_SHOWN]
    ]
    more = record.problem_count + record.warning_count - len(shown)
    return [*shown, f"and {more} more"] if more > 0 else shown


def without_secrets(lines: Sequence[str], secrets: Sequence[str]) -> list[str]:
    """Log lines without any address, should one have got into them after all."""
    for secret in secrets:
        lines = [line.replace(secret, "***") for line in lines]
    return list(lines)
