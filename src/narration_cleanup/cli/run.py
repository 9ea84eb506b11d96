"""``run`` and ``dry-run``: one plan, applied or shown."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from narration_cleanup.apply.result import Result
from narration_cleanup.cli import options
from narration_cleanup.cli.options import Invocation, showing_progress
from narration_cleanup.core.deadline import Stopwatch
from narration_cleanup.core.errors import CleanupError, internal_error
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import Progress
from narration_cleanup.core.signals import decide, stop_on_signals
from narration_cleanup.core.text import printable
from narration_cleanup.plan.actions import Reason
from narration_cleanup.report import documents
from narration_cleanup.report.log import Log, LogFormat
from narration_cleanup.report.run_record import RunRecord
from narration_cleanup.report.stats import Stats
from narration_cleanup.report.streams import is_terminal
from narration_cleanup.report.summary import EVERYTHING, SORT, Selection
from narration_cleanup.run import recorder
from narration_cleanup.run.access import OtherUserError, refuse_other_users
from narration_cleanup.run.collect_stats import with_last_run
from narration_cleanup.run.recorder import RunRecorder
from narration_cleanup.run.run import dry_run, run
from narration_cleanup.run.run_as import act_as
from narration_cleanup.settings import Settings, load_settings, require_target
from narration_cleanup.settings.show import without_password

Work = Callable[[Settings, Log, Progress, RunRecorder | None], Stats]

_REASONS = tuple(reason.value for reason in Reason)
_LISTED = "What is listed (the plan stays whole)"
_SELECTING = ("--voice-style", "--reason", "--sort", "--limit")


def _listed(option: str, metavar: str, about: str, least: int | None = None) -> object:
    return typer.Option(
        option,
        metavar=metavar,
        help=about,
        min=least,
        show_default=False,
        rich_help_panel=_LISTED,
    )


VoiceStyle = Annotated[
    str | None,
    options.voice_style("List only what is planned for the entries of one voice style.", _LISTED),
]
OneReason = Annotated[
    str | None,
    _listed("--reason", "REASON", f"List only what has one reason: {', '.join(_REASONS)}."),
]
Sort = Annotated[str | None, _listed("--sort", "size|age", "List the largest or the oldest first.")]
Limit = Annotated[int | None, _listed("--limit", "N", "List at most this many actions.", 0)]


@options.takes(
    *options.PLACES,
    *options.LIMITS,
    *options.REMOVALS,
    *("ignore_clock", "as_json", "quiet", "verbose", "log_format"),
)
def run_command(call: Invocation) -> None:
    """Remove expired audio, and cancel abandoned requests."""
    result = Result(time.time(), dry_run=False)
    with stop_on_signals() as (stop, signals):

        def work(
            settings: Settings, log: Log, progress: Progress, recording: RunRecorder | None
        ) -> Stats:
            log.started(settings.cleanup.interval_hours, settings.requests.abandoned_timeout_hours)
            log.tasks_started()
            return run(
                settings, result, stop, progress, log, recording, ignore_clock=call.ignore_clock
            )

        def done() -> None:
            decide(result.exit_code)
            signals.close()

        code = _carry_out(call, result, work, done)
    raise typer.Exit(code)


@options.takes(
    *options.PLACES,
    *options.LIMITS,
    *options.REMOVALS,
    *("as_json", "quiet", "verbose", "log_format"),
)
def dry_run_command(
    call: Invocation,
    voice_style: VoiceStyle = None,
    reason: OneReason = None,
    sort: Sort = None,
    limit: Limit = None,
) -> None:
    """Show what a run would do, item by item, with the reason for each. Changes nothing."""
    for option, given, known in (("--reason", reason, _REASONS), ("--sort", sort, SORT)):
        if given not in (None, *known):
            what = f"{printable(given)} is none of {', '.join(known)}"
            raise typer.BadParameter(what, param_hint=option)
    selection = Selection(voice_style, reason, sort, limit and min(limit, sys.maxsize))
    result = Result(time.time(), dry_run=True)

    def work(settings: Settings, _: Log, progress: Progress, __: RunRecorder | None) -> Stats:
        return dry_run(settings, result, progress, explain=call.verbose)

    raise typer.Exit(_carry_out(call, result, work, selection=selection))


def _carry_out(
    call: Invocation,
    result: Result,
    work: Work,
    done: Callable[[], None] = lambda: None,
    selection: Selection = EVERYTHING,
) -> ExitCode:
    """Do the work, report it, and return the exit code; a refusal is a result too.

    ``done`` is called once all is done and recorded: showing it may wait for a reader for ever.
    """
    log = _log(call, result)
    stats, recording, watch, refused = None, None, Stopwatch(), False
    crash: BaseException | None = None
    try:
        settings = load_settings(flags=call.flags, config_file=call.config_file, environ=os.environ)
        settings = act_as(settings)
        refuse_other_users(settings, writes=not result.dry_run)
        if not result.dry_run:
            recording = recorder.start(settings, result, os.environ)
        require_target(settings, by_flag=True)
        for warning in settings.warnings:
            log.warning(warning)
        result.cache_configured = settings.cache.dir is not None
        result.requests_configured = settings.requests.db is not None
        with showing_progress(sys.stderr, quiet=call.quiet) as progress:
            stats = work(settings, log, progress, recording)
    except CleanupError as error:
        result.stop(error.exit_code, str(error))
        refused = isinstance(error, OtherUserError)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a library is no Exception
        if isinstance(error, OSError):  # of the output, which is not readable any more
            result.stop(ExitCode.FAILED, internal_error(error))
            _record_and_notify(recording, result, log, watch, done)
            raise
        crash = error
        result.stop(ExitCode.FAILED, internal_error(error))
    if recording is None and crash is None and not result.dry_run:
        recording = recorder.start_with_partial_settings(
            call.flags, call.config_file, result, os.environ, writes=not refused
        )
    show = partial(_show, call, result, stats, log, recording, selection)
    _record_and_notify(recording, result, log, watch, done, show)
    if crash is not None and call.verbose:
        raise crash
    return result.exit_code


def _log(call: Invocation, result: Result) -> Log:
    """Muted where a terminal shows the run in another way, unless JSON lines are asked for."""
    on_terminal = sys.stdout.isatty() and not call.as_json
    return Log(
        form=call.log_format,
        quiet=call.quiet or result.dry_run,
        verbose=call.verbose,
        muted=on_terminal and call.log_format is LogFormat.TEXT,
    )


def _record_and_notify(
    recording: RunRecorder | None,
    result: Result,
    log: Log,
    watch: Stopwatch,
    done: Callable[[], None],
    show: Callable[[RunRecord | None], None] = lambda record: None,
) -> None:
    """History and metrics first, so that what they lack is shown; the network last.

    Notifications are sent also where the run cannot be shown here.
    """
    result.finished_at = result.started_at + watch.seconds
    record = None if recording is None else recorder.finish(recording, result)
    done()
    try:
        show(record)
    finally:
        if recording is not None and record is not None:
            recorder.notify(recording, record, list(log.last), log.warning)


def _show(
    call: Invocation,
    result: Result,
    stats: Stats | None,
    log: Log,
    recording: RunRecorder | None,
    selection: Selection,
    record: RunRecord | None,
) -> None:
    if stats is not None and record is not None:
        stats = with_last_run(stats, record, recording.starts if recording is not None else ())
    if not result.dry_run or result.stopped is not None:
        log.finished(result)
    if call.as_json:
        trigger = None if recording is None else recording.trigger
        documents.write_run(result, stats, sys.stdout, trigger=trigger, selection=selection)
    elif result.dry_run or is_terminal(sys.stdout):  # a run in a pipe shows nothing
        from narration_cleanup.report.run_text import show_run

        show_run(
            result,
            stats,
            verbose=call.verbose,
            quiet=call.quiet,
            command=_command_of(result),
            selection=selection,
        )


def _command_of(result: Result) -> str | None:
    """The command that does what this dry run has planned; ``None`` where that is nothing."""
    planned = any(len(target.plan.actions) for target in result.targets)
    words = sys.argv[1:]
    if not (result.dry_run and planned and "dry-run" in words):
        return None
    words[words.index("dry-run")] = "run"
    for option in _SELECTING:  # what they show is no part of what a run does
        words = [word for word in words if not word.startswith(f"{option}=")]
        while option in words:
            at = words.index(option)
            del words[at : at + 2]
    kept = (without_password(word) for word in words if word not in ("-v", "--verbose"))
    return f"{options.this_program()} {shlex.join(kept)}"
