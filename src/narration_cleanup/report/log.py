"""Log lines on stderr: what an unattended run reports, one line an event, for people or collectors.

A line that cannot be written (a closed pipe, a full disk) never stops the work.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TextIO

from narration_cleanup.apply.result import CacheResult, Outcomes, RequestResult, Result, RunOutcome
from narration_cleanup.core.errors import with_code
from narration_cleanup.core.model import MB, Problem, Severity
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.plan.actions import CACHE_REASONS, Action, Kind, Outcome, Reason
from narration_cleanup.report.format import count, entries, iso
from narration_cleanup.report.run_record import beside
from narration_cleanup.report.streams import allow_any_character, write_or_wait
from narration_cleanup.report.summary import done_for, gathered, problem_line

Field = str | int | float | bool | None | Mapping[str, int]


LAST_LINES = 20
"""Lines that a ping or a message carries at most."""
MOST_REQUESTS = 20
"""Cancelled requests, and failed ones, that each have a line without ``verbose``."""


class Level(Enum):
    """A line's weight; the value is its syslog priority, as in sd-daemon(3)."""

    DEBUG = 7
    INFO = 6
    WARNING = 4
    ERROR = 3


class LogFormat(Enum):
    """``text`` for people and the journal, ``json`` (one object a line) for log collectors."""

    TEXT = "text"
    JSON = "json"


_END_LEVEL = {
    RunOutcome.SUCCESS: Level.INFO,
    RunOutcome.PARTIAL: Level.WARNING,
    RunOutcome.INTERRUPTED: Level.WARNING,
    RunOutcome.BUSY: Level.WARNING,
}


class Log:
    """The log of one command.

    ``quiet`` leaves only what is wrong: problems, actions that failed, and an end that is not a
    success. ``verbose`` adds a line for every action. ``clock`` gives the time that JSON lines
    carry (text lines carry none: the journal, cron and syslog add their own). ``muted`` writes
    only warnings, for when a terminal shows all the rest in another way.

    ``last`` holds the last lines, written or not, for the run's notifications.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        form: LogFormat = LogFormat.TEXT,
        quiet: bool = False,
        verbose: bool = False,
        muted: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        allow_any_character(self._stream)
        self._priorities = form is LogFormat.TEXT and is_journal(self._stream)
        self._form = form
        self._quiet = quiet
        self._verbose = verbose
        self._muted = muted
        self._clock = clock
        self.last: deque[str] = deque(maxlen=LAST_LINES)

    def started(self, interval_hours: float, abandoned_timeout_hours: float) -> None:
        """The first line: how often this is meant to run, and when a request is abandoned."""
        self._routine(
            "started",
            f"Starting narration cleanup (interval: {interval_hours:g} h, "
            f"abandoned timeout: {abandoned_timeout_hours:g} h)",
            interval_hours=interval_hours,
            abandoned_timeout_hours=abandoned_timeout_hours,
        )

    def tasks_started(self) -> None:
        """Both targets are about to be surveyed."""
        self._routine("tasks_started", "Starting cleanup tasks")

    def cache_started(self) -> None:
        """The work on the cache begins."""
        self._routine("cache_started", "Cleaning up expired cache entries")

    def cache_done(self, cache: CacheResult) -> None:
        """What was removed and freed: expired entries always, the other reasons where any."""
        if self._verbose:
            for action, outcome, note in cache.outcomes:
                text = f"{action.reason.value}, {printable(action.detail)}"
                text = f"{printable(action.file)}: {text}"
                note = beside(action.detail, note)
                self._action(action, outcome, note, text, file=action.file)
        elif failed := cache.outcomes.count(Outcome.FAILED):
            # The problems have each reason, and of very many how many more.
            message = f"{count(failed, 'removal')} failed; see the errors below"
            self._say("failed", message, Level.ERROR, count=failed)
        for reason in CACHE_REASONS:
            removed = cache.removed_by_reason.get(reason, 0)
            if not removed and reason is not Reason.EXPIRED:
                continue
            freed = cache.freed_by_reason.get(reason, 0)
            more = f", freed {freed / MB:.2f} MB" if reason.kind.frees_bytes else ""
            self._routine(
                "removed",
                f"{done_for(reason, removed)}{more}",
                reason=reason.value,
                count=removed,
                freed_bytes=freed,
            )
        if cache.without_file:
            self._routine(
                "without_file",
                f"{cache.without_file:,} of the removed entries had no audio file: the service had "
                "written them back from its memory, or their audio was lost",
                count=cache.without_file,
            )
        self._skipped(cache.outcomes, "cache")

    def requests_started(self) -> None:
        """The work on the requests begins."""
        self._routine("requests_started", "Cleaning up abandoned requests")

    def requests_done(self, requests: RequestResult) -> None:
        """Each cancelled request with its age, then their number; deletions where any."""
        seen: Counter[Outcome] = Counter()
        for action, outcome, note in requests.outcomes:
            if outcome is Outcome.FAILED and str(action.id) in requests.known_failures:
                if self._verbose:
                    self._routine("skipped_action", f"Failed, as before: {printable(action.id)}")
                continue
            cancels = action.kind is Kind.CANCEL_REQUEST
            if cancels or outcome is Outcome.FAILED:
                seen[outcome] += 1
            if seen[outcome] > MOST_REQUESTS and not self._verbose:
                continue
            text = f"{action.reason.value} request {printable(action.id)}"
            text = f"{text}: {printable(action.detail)}"
            if cancels and outcome is Outcome.DONE:
                self._routine(
                    "cancelled_request",
                    f"{action.kind.value.done} {text}",
                    Level.WARNING,
                    id=action.id,
                    status=action.status,
                    age_seconds=round(action.age_seconds, 3),
                )
            else:
                self._action(action, outcome, note, text, id=action.id)
        for outcome, what, say, level in (
            (Outcome.DONE, "Cancelled", self._routine, Level.WARNING),
            (Outcome.FAILED, "Failed:", self._say, Level.ERROR),
        ):
            if not self._verbose and (more := seen[outcome] - MOST_REQUESTS) > 0:
                message = f"{what} {count(more, 'more request')}: -v lists each"
                say("more_requests", message, level, count=more)
        cancelled = requests.cancelled_count
        self._routine(
            "cancelled",
            done_for(Reason.ABANDONED, cancelled),
            count=cancelled,
            by_status=requests.cancelled_by_status,
        )
        if requests.deleted_count:
            self._routine(
                "deleted",
                f"{done_for(Reason.FINISHED, requests.deleted_count)}, "
                f"{count(requests.freed_pages, 'database page')} free for reuse",
                count=requests.deleted_count,
                freed_pages=requests.freed_pages,
            )
        self._skipped(requests.outcomes, "requests")

    def overwritten(self, requests: RequestResult) -> None:
        """What became of earlier cancellations, where the service did not heed them."""
        if requests.overwritten:
            self._routine(
                "overwritten",
                f"The service has completed {count(requests.overwritten, 'request')} "
                "after an earlier run had cancelled them",
                Level.WARNING,
                count=requests.overwritten,
            )

    def problem(self, problem: Problem, more: int = 0) -> None:
        """Something that needs the operator; ``finished`` logs all of a result.

        ``more``: how many others there are with the same reason.
        """
        line = problem_line(problem, more)
        self._say(
            "problem",
            line[:1].upper() + line[1:],
            Level.ERROR if problem.severity is Severity.PROBLEM else Level.WARNING,
            half=problem.target.value,
            code=problem.code,
            subject=problem.subject,
            **({"more": more} if more else {}),
        )

    def finished(self, result: Result) -> None:
        """Every problem, then the last line; the same words as the message of the report.

        Of many with the same reason one is logged with their number, unless ``verbose``.
        """
        problems = result.all_problems()
        for problem, more in (
            [(each, 0) for each in problems] if self._verbose else gathered(problems)
        ):
            self.problem(problem, more)
        level = _END_LEVEL.get(result.outcome, Level.ERROR)
        say = self._routine if result.outcome is RunOutcome.SUCCESS else self._say
        for line in map(printable_line, result.message.splitlines()):
            text = line if result.stopped is None else with_code(line, result.stopped)
            say("finished", text, level, outcome=result.outcome.value)

    def warning(self, message: str) -> None:
        """Something unusual that stops nothing; logged even if quiet or muted: no report has it."""
        self._write("warning", printable_line(message), Level.WARNING, {})

    def _action(
        self, action: Action, outcome: Outcome, note: str | None, text: str, **fields: Field
    ) -> None:
        """One action: a failed one always, a skipped or done one where verbose."""
        more = "" if note is None else f" ({printable_line(note)})"
        if outcome is Outcome.FAILED:
            self._say("failed_action", f"Failed: {text}{more}", Level.ERROR, **fields)
        elif self._verbose and outcome is Outcome.SKIPPED:
            self._routine("skipped_action", f"Skipped: {text}{more}", **fields)
        elif self._verbose and outcome is Outcome.DONE:
            self._routine("done_action", f"{action.kind.value.done} {text}", Level.DEBUG, **fields)

    def _skipped(self, outcomes: Outcomes, target: str) -> None:
        skipped, notes = outcomes.count(Outcome.SKIPPED), outcomes.notes(Outcome.SKIPPED)
        if skipped:
            what = entries(skipped) if target == "cache" else count(skipped, "request")
            why = printable_line(*notes) if len(notes) == 1 else "-v shows each reason"
            self._routine("skipped", f"Skipped {what}: {why}", half=target, count=skipped)

    def _routine(
        self, event: str, message: str, level: Level = Level.INFO, /, **fields: Field
    ) -> None:
        """Success and routine work: nothing for a quiet log."""
        self._write(event, message, level, fields, hidden=self._quiet or self._muted)

    def _say(self, event: str, message: str, level: Level, /, **fields: Field) -> None:
        self._write(event, message, level, fields, hidden=self._muted)

    def _write(
        self,
        event: str,
        message: str,
        level: Level,
        fields: Mapping[str, Field],
        *,
        hidden: bool = False,
    ) -> None:
        """``message`` is to be safe to show."""
        line = f"{level.name} - {message}"
        self.last.append(line)
        if hidden:
            return
        if self._form is LogFormat.JSON:
            from json import dumps

            at = iso(self._clock())
            said = {"time": at, "level": level.name, "event": event, "message": message}
            line = dumps({**said, **fields})
        elif self._priorities:
            line = f"<{level.value}>{line}"
        write_or_wait(self._stream, f"{line}\n")


def is_journal(stream: TextIO, named: str | None = None) -> bool:
    """Whether ``$JOURNAL_STREAM`` (device:inode, systemd.exec(5)) names ``stream``."""
    named = os.environ.get("JOURNAL_STREAM", "") if named is None else named
    if not named:
        return False
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"
