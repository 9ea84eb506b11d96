"""What a run tells beyond its own output: the history, the metrics, and whoever wants to hear.

A run calls ``begin`` before it does anything, ``end`` once it has ended (history and metrics,
quick), and ``tell`` last (the network, for a limited time). None of them raises for what is
foreseeable, and none is ever called in a dry run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from narration_cleanup import __version__
from narration_cleanup.escape import shown
from narration_cleanup.history import History, open_history, read_clocks, trigger_of
from narration_cleanup.output.metrics import (
    carried_on,
    facts_of,
    metrics_text,
    read_samples,
    write_metrics,
)
from narration_cleanup.record import RunRecord, record_of
from narration_cleanup.result import Result, RunOutcome
from narration_cleanup.settings import AlertsSettings, Settings

NOTIFIED_BY = "NARRATION_NOTIFIED_BY"
"""``unit`` in the environment of a unit whose ``OnFailure=``/``OnSuccess=`` units do the telling:
it has no network itself. Outside such a unit the run tells, so that nothing is heard twice."""

Warn = Callable[[str], None]


@dataclass(slots=True)
class Telling:
    """A run that is to be told of. ``history`` is ``None`` where none can be kept."""

    settings: Settings
    environ: Mapping[str, str]
    warn: Warn
    history: History | None
    run_id: int | None = None

    @property
    def sends(self) -> bool:
        """Whether the run itself sends pings and messages."""
        return self.environ.get(NOTIFIED_BY) != "unit"


def begin(
    settings: Settings, *, started_at: float, environ: Mapping[str, str], warn: Warn
) -> Telling:
    """Record that a run begins, and ping the start. ``warn`` is told what cannot be done."""
    history = open_history(settings.cleanup.state_dir, warn=warn, at=started_at)
    telling = Telling(settings, environ, warn, history)
    if history is not None:
        trigger = trigger_of(environ).value
        telling.run_id = history.begin(started_at, trigger=trigger, version=__version__)
    if telling.sends and settings.alerts.ping_url is not None:
        from narration_cleanup.alerts import ping_start

        _warn_all(warn, [ping_start(settings.alerts.ping_url)])
    return telling


def end(telling: Telling, result: Result, *, clock_refused: bool = False) -> RunRecord:
    """Write history and metrics; the record of the run, as kept.

    ``clock_refused``: the run refused because the clocks disagreed, which the next one must know.
    """
    settings = telling.settings
    limit_bytes = int(settings.cache.max_size_mb * 2**20)
    record = record_of(result, limit_bytes=limit_bytes)
    history = telling.history
    if history is not None:
        record = history.finish(telling.run_id, record)
        if result.finished_at is not None:
            clocks = read_clocks(result.finished_at, telling.environ, refused=clock_refused)
            if clocks is not None:
                history.mark_clock(clocks)
        history.prune(
            keep_days=settings.history.keep_days,
            keep_runs=settings.history.keep_runs,
            now=result.started_at,
        )
    _write_metrics(telling, record)
    if history is not None:
        history.close()
    return record


def tell(telling: Telling, record: RunRecord, lines: Sequence[str] = ()) -> None:
    """Ping the end and send the message that is asked for; ``lines`` are the last of the log."""
    if telling.sends:
        tell_of(record, telling.settings.alerts, telling.warn, lines=lines)


def tell_of(
    record: RunRecord,
    alerts: AlertsSettings,
    warn: Warn,
    *,
    lines: Sequence[str] = (),
    unit: str | None = None,
) -> None:
    """Ping and message about a run that ended, here or in the unit called ``unit``."""
    if alerts.ping_url is None and not alerts.urls:
        return
    from narration_cleanup.alerts import message_of, ping_end, send, summary_lines, wanted

    secrets = (*alerts.urls, *((alerts.ping_url,) if alerts.ping_url is not None else ()))
    lines = [_without(line, secrets) for line in lines]
    if alerts.ping_url is not None:
        body = lines or summary_lines(record)
        _warn_all(warn, [ping_end(alerts.ping_url, record, body)])
    if alerts.urls and wanted(record.outcome, alerts.on):
        message = message_of(record, host_name(), unit=unit, lines=lines)
        _warn_all(warn, send(message, alerts.urls))


def host_name() -> str:
    """This machine's name, for whoever hears from several."""
    import socket

    return socket.gethostname()


def _write_metrics(telling: Telling, record: RunRecord) -> None:
    file = telling.settings.metrics.textfile
    if file is None:
        return
    if record.outcome == RunOutcome.BUSY:  # the run that holds the lock is the one to tell of
        return
    earlier = read_samples(file)
    history = telling.history
    counters = carried_on(earlier, record) if history is None else history.counters()
    facts = facts_of(
        record,
        counters,
        interval_seconds=telling.settings.cleanup.interval_hours * 3_600,
        limit_bytes=int(telling.settings.cache.max_size_mb * 2**20),
        earlier=earlier,
    )
    try:
        write_metrics(file, metrics_text(facts))
    except OSError as error:
        telling.warn(f"the metrics {shown(file)} cannot be written: {error.strerror}")


def _warn_all(warn: Warn, found: Sequence[str | None]) -> None:
    for text in found:
        if text is not None:
            warn(text)


def _without(line: str, secrets: Sequence[str]) -> str:
    """A log line without any address, should something have said one after all."""
    for secret in secrets:
        line = line.replace(secret, "***")
    return line
