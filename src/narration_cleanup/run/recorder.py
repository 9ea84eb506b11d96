"""Records a run in the history and the metrics, and notifies whoever is configured.

A run calls ``start`` before it does anything, ``finish`` once it has ended (history and metrics,
quick), and ``notify`` last (the network, for a limited time). None of them raises for what is
foreseeable, and none is ever called in a dry run.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from narration_cleanup import __version__
from narration_cleanup.apply.result import (
    NOT_CHANGED,
    ODD_FILE,
    ROW_REFUSED,
    CacheResult,
    RequestResult,
    Result,
    RunOutcome,
)
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.files import NOTIFIED_BY
from narration_cleanup.core.model import Problem, Problems, Severity, Target, is_most
from narration_cleanup.core.text import printable
from narration_cleanup.plan import CachePlan
from narration_cleanup.plan.actions import Kind, Outcome
from narration_cleanup.plan.types import CacheTotals
from narration_cleanup.report.history import (
    ClockMark,
    Start,
    read_clocks,
    trigger_of,
)
from narration_cleanup.report.run_record import ITEM_BYTES, RunRecord, items_of, record_of
from narration_cleanup.run.collect_stats import places_of
from narration_cleanup.run.guards import absent, clock_jump, jumped, refuse_clock, unproved_absence
from narration_cleanup.run.run_as import check_source
from narration_cleanup.settings import AlertsSettings, Settings, load_partial
from narration_cleanup.settings.sources import HISTORY_REMEDY, NO_HISTORY, NO_STATE_DIR

if TYPE_CHECKING:
    from narration_cleanup.report.alert_policy import Attention
    from narration_cleanup.report.history.store import History
    from narration_cleanup.stores.requests import RequestStore

BUSY_FAILS_AT = 3
"""Runs in a row that find the lock held, of which the last fails."""
_UNCHANGED = frozenset({ODD_FILE, ROW_REFUSED, NOT_CHANGED})
"""Codes of files and rows that cannot be changed: of one, or of all where the folder or the table
itself is in the way."""
_OF_ONE_ITEM = _UNCHANGED | frozenset(
    {
        "created_in_future",
        "malformed_entry",
        "not_put_back",
        "outside_cache",
        "unreadable_id",
        "unreadable_time",
        "unreadable_value",
    }
)
"""Codes of problems of one entry, file or row, which only the operator or the service can end."""
_WHOLE = (RunOutcome.SUCCESS, RunOutcome.PARTIAL, RunOutcome.REFUSED)
"""Outcomes of runs that ended by themselves."""

Warn = Callable[[str], None]


@dataclass(slots=True)
class RunRecorder:
    """A run that is recorded and reported. ``history`` is ``None`` where none can be kept.

    ``clocks`` is what both clocks showed when it began; ``clock_refused``, whether the run refused
    since they disagreed, which the next one must know. ``None``: it ended before it compared them,
    and so leaves no mark of them. ``clock_trusted``: the operator confirms that the clock is right.
    ``items``: of each place that was surveyed, those that this run, or an earlier one, reported
    and could not clean.
    """

    settings: Settings
    environ: Mapping[str, str]
    trigger: str
    history: History | None = None
    run_id: int | None = None
    clocks: ClockMark | None = None
    clock_refused: bool | None = None
    clock_trusted: bool = False
    attention: Attention | None = None
    starts: Sequence[Start] = ()
    writes: bool = True
    items: dict[str, set[bytes]] = field(default_factory=dict)

    @property
    def sends(self) -> bool:
        """Whether the run itself sends pings and messages."""
        return self.environ.get(NOTIFIED_BY) != "unit"

    def refuse_clock_jump(self) -> None:
        """Raise ``RefusedError`` where the clock jumped since the last run."""
        if self.history is not None and self.clocks is not None:
            self._refuse_clock(jumped(clock_jump(self.clocks, self.history.clock_marks())))

    def accept_known(self, target: CacheResult | RequestResult) -> None:
        """Make the problem of one item that no run can clean a warning, where the last run that
        looked at the target reported it: it does not make every later run partial.

        Not where most of the target is such items, nor of two or more files or rows that cannot be
        changed, none of them reported before, where nothing else could be: then the target is at
        fault, and not the item.
        """
        total, places = target.plan.totals, places_of(self.settings)
        if isinstance(total, CacheTotals):
            place, whole = places.cache or "", total.entry_count
        else:
            place, whole = places.requests or "", total.total
        items = self.items.setdefault(place, set())
        unchanged: set[bytes] = set()
        known = () if self.history is None else self.history.known_items(place)

        def judged(problem: Problem) -> Problem:
            if problem.code not in _OF_ONE_ITEM or problem.subject is None or problem.known:
                return problem
            item = item_name(problem)
            if item in known:
                items.add(item)
                if problem.code == ROW_REFUSED:
                    target.known_failures.add(problem.subject)
                return msgspec.structs.replace(problem, severity=Severity.WARNING, known=True)
            (unchanged if problem.code in _UNCHANGED else items).add(item)
            return problem

        for holder in (target, target.plan):
            problems = holder.problems
            number = problems.count(_OF_ONE_ITEM)
            if number and not is_most(number, whole):
                holder.problems = Problems()
                holder.problems.extend(problems, judged)
        outcomes, refused = target.outcomes, target.problems.count({ROW_REFUSED})
        known_alone = target.known_failures and not unchanged
        if known_alone and refused == outcomes.count(Outcome.FAILED):
            # So are those that are only counted: see ``Problems.extend``.
            failed = (str(each.id) for each, outcome, _ in outcomes if outcome is Outcome.FAILED)
            target.known_failures.update(failed)
        if len(unchanged) <= 1 or target.outcomes.count(Outcome.DONE):
            items |= unchanged

    def refuse_unproved_absence(self, cache: CachePlan | None) -> None:
        """Raise ``RefusedError`` where most of the cache would expire by a clock far ahead."""
        if self.history is not None and self.clocks is not None:
            absence = unproved_absence(self.clocks, self.history.clock_marks())
            self._refuse_clock(absent(absence, cache))

    def _refuse_clock(self, why: str | None) -> None:
        self.clock_refused = why is not None and not self.clock_trusted
        refuse_clock(why if self.clock_refused else None)


def start(settings: Settings, result: Result, environ: Mapping[str, str]) -> RunRecorder:
    """Record that a run begins, and ping the start. What cannot be done is a warning."""
    from narration_cleanup.report.history.store import open_history

    recording = RunRecorder(settings, environ, trigger_of(environ).value)
    recording.clocks = read_clocks(result.started_at, environ)
    warn = _warning(result, "history_unusable")
    state_dir = settings.cleanup.state_dir
    if state_dir == NO_STATE_DIR:
        warn(f"{NO_HISTORY}; {HISTORY_REMEDY}")
    else:
        recording.history = open_history(
            state_dir, warn=warn, at=result.started_at, places=places_of(settings)
        )
    if recording.history is not None:
        recording.run_id = recording.history.begin(
            result.started_at, trigger=recording.trigger, version=__version__
        )
    if recording.sends and settings.alerts.ping_url is not None:
        from narration_cleanup.report.notify import ping_start

        wrong = ping_start(settings.alerts.ping_url, settings.alerts.ping_style)
        _warn_all(_warning(result, "alert_not_sent"), [wrong])
    return recording


def start_with_partial_settings(
    flags: Mapping[str, object | None],
    config_file: Path | None,
    result: Result,
    environ: Mapping[str, str],
    *,
    writes: bool,
) -> RunRecorder:
    """As ``start``, for a run whose settings are wrong: with those that are right.

    Without ``writes`` neither history nor metrics are written: this may be the wrong user for it.
    """
    settings, _, state_known = load_partial(flags=flags, config_file=config_file, environ=environ)
    try:
        check_source(settings)
    except ConfigError:  # nor does it say where to write, and whom to tell
        nowhere = Path(os.devnull)
        settings, _, state_known = load_partial(flags=flags, config_file=nowhere, environ=environ)
    if state_known and writes:
        return start(settings, result, environ)
    return RunRecorder(settings, environ, trigger_of(environ).value, writes=writes)


def note_cancelled(
    recording: RunRecorder, store: RequestStore, result: RequestResult, at: float, *, count: bool
) -> None:
    """Count the requests that an earlier run cancelled and the service completed all the same
    (``count``), and remember those that this run cancelled. Each is counted once."""
    history, place = recording.history, store.location
    if history is None:
        return
    earlier = history.recently_cancelled(place) if count else []
    if earlier:
        with suppress(CleanupError):  # the run itself has said what is wrong with the database
            result.overwritten = store.count_completed(earlier)
            history.forget_cancelled(place, earlier)
    done = [
        action.id
        for action, outcome, _ in result.outcomes
        if outcome is Outcome.DONE and action.kind is Kind.CANCEL_REQUEST
    ]
    if done:
        history.remember_cancelled(place, done, at)


def finish(recording: RunRecorder, result: Result) -> RunRecord:
    """Write history and metrics; the record of the run, as kept."""
    settings, history = recording.settings, recording.history
    earlier = [] if history is None else history.before(recording.run_id)
    busy_count = _fail_where_held(result, earlier)
    record = record_of(result, limit_bytes=_limit_bytes(settings))
    record = msgspec.structs.replace(record, busy_count=busy_count)
    if history is not None:
        items = items_of(result, settings.history.keep_items)
        record = history.finish(recording.run_id, record, items)
        for place, known in recording.items.items() if result.outcome in _WHOLE else ():
            history.remember_known(place, known)
    from narration_cleanup.report.alert_policy import attention

    recording.attention = attention([*reversed(earlier), record])
    if history is not None:
        recording.starts = history.starts()
        refused = recording.clock_refused
        if recording.clocks is not None and refused is not None:
            history.mark_clock(msgspec.structs.replace(recording.clocks, refused=refused))
        # By a clock that may be wrong nothing is too old.
        trusted = refused is False or recording.clocks is None
        history.prune(
            keep_days=settings.history.keep_days if trusted else math.inf,
            keep_runs=settings.history.keep_runs,
            keep_items=settings.history.keep_items,
            now=result.started_at,
        )
    _write_metrics(recording, record, _warning(result, "metrics_not_written"))
    if history is not None:
        history.close()
    return record


def _fail_where_held(result: Result, earlier: Sequence[RunRecord]) -> int:
    """How many runs in a row found the lock held. From the third on, that is a failure: what holds
    it may hang, and no run would say so. ``earlier`` are the runs before, newest first."""
    if result.stopped is not ExitCode.BUSY:
        return 0
    count = 1 + (earlier[0].busy_count if earlier else 0)
    if count >= BUSY_FAILS_AT:
        result.stop(
            ExitCode.FAILED,
            f"{result.stop_message}; {count} runs in a row found it so: if that process hangs, "
            "end it [lock_held]",
        )
    return count


def notify(recording: RunRecorder, record: RunRecord, lines: Sequence[str], warn: Warn) -> None:
    """Ping the end and send the message that is asked for; ``lines`` are the last of the log."""
    if recording.sends:
        found = recording.attention
        notify_of(record, recording.settings.alerts, warn, lines=lines, found=found)


def notify_of(
    record: RunRecord,
    alerts: AlertsSettings,
    warn: Warn,
    *,
    lines: Sequence[str] = (),
    unit: str | None = None,
    found: Attention | None = None,
) -> None:
    """Ping and message about a run that ended, here or in the unit called ``unit``; ``found`` is
    what it changed for the operator."""
    if not alerts.has_target:
        return
    from narration_cleanup.report.notify import (
        message_of,
        ping_end,
        send,
        summary_lines,
        wanted,
        without_secrets,
    )

    secrets = (*alerts.urls, *((alerts.ping_url,) if alerts.ping_url is not None else ()))
    lines = without_secrets(lines, secrets)
    if alerts.ping_url is not None:
        body = lines or summary_lines(record)
        _warn_all(warn, [ping_end(alerts.ping_url, record, body, alerts.ping_style)])
    if alerts.urls and wanted(record.outcome, alerts.on, found):
        found = found if alerts.on == "attention" else None
        message = message_of(record, host_name(), unit=unit, lines=lines, found=found)
        _warn_all(warn, send(message, alerts.urls))


def item_name(problem: Problem) -> bytes:
    """A short name for a problem of one item, the same in each run while its reason is the same:
    from its subject, the code and the message without its figures."""
    reason = re.sub(r"\d+", "", problem.message)
    whole = "\0".join((problem.code, problem.subject or "", reason))
    return hashlib.blake2b(whole.encode(errors="surrogatepass"), digest_size=ITEM_BYTES).digest()


def host_name() -> str:
    """This machine's name, for whoever gets messages from several."""
    import socket

    return socket.gethostname()


def _write_metrics(recording: RunRecorder, record: RunRecord, warn: Warn) -> None:
    file = recording.settings.metrics.textfile
    if file is None or not recording.writes or record.outcome == RunOutcome.BUSY:
        return  # for a run that found the lock held, the one that holds it reports
    from narration_cleanup.report.metrics import metrics_text, name_of, write_metrics

    text = metrics_text(
        record,
        None if recording.history is None else recording.history.counters(),
        interval_seconds=recording.settings.cleanup.interval_hours * 3_600,
        limit_bytes=_limit_bytes(recording.settings),
        name=name_of(file),
    )
    try:
        write_metrics(file, text)
    except OSError as error:
        warn(f"metrics.textfile {printable(file)} cannot be written: {error.strerror}")


def _limit_bytes(settings: Settings) -> int:
    return int(settings.cache.max_size_mb * 2**20)


def _warning(result: Result, code: str) -> Warn:
    """What could not be reported becomes one of the run's own warnings."""

    def warn(text: str) -> None:
        result.problems.add(Problem(Target.PROGRAM, code, text, severity=Severity.WARNING))

    return warn


def _warn_all(warn: Warn, found: Sequence[str | None]) -> None:
    for text in found:
        if text is not None:
            warn(text)
