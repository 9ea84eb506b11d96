"""`history`: what the runs did, newest first, and `history show ID`: one of them whole."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from narration_cleanup.cli import complete
from narration_cleanup.cli.lazy import LazyCommand, LazyGroup
from narration_cleanup.core.errors import CleanupError, ConfigError, settings_warning
from narration_cleanup.core.model import Problem, Target
from narration_cleanup.core.text import printable
from narration_cleanup.report.documents import configuration_problems, write_history
from narration_cleanup.report.history import read_history
from narration_cleanup.report.run_record import ENDINGS, RUNNING, RunItem, RunRecord
from narration_cleanup.settings import Settings, history_elsewhere, load_partial
from narration_cleanup.settings.sources import HISTORY_REMEDY, NO_HISTORY, NO_STATE_DIR

if TYPE_CHECKING:
    from narration_cleanup.report.history.store import History

T = TypeVar("T")

_UNITS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 7 * 86_400.0}

history_app = typer.Typer(
    name="history",
    help="Show what the runs did, newest first.",
    invoke_without_command=True,
    subcommand_metavar="[COMMAND [ARGS]...]",
    cls=LazyGroup,
)

LAST = "last"
_OUTCOMES = (*ENDINGS, RUNNING)
_MOST = 10**9
"""Runs: more than there will be, and a number that the history can ask for."""
AsJson = Annotated[bool, typer.Option("--json", metavar="", help="One JSON document on stdout.")]


@history_app.callback()
def history_command(
    context: typer.Context,
    number: Annotated[
        int,
        typer.Option(
            "-n",
            "--number",
            min=0,
            max=_MOST,
            metavar="N",
            help="At most this many runs; 0 for all.",
        ),
    ] = 20,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only runs that began since then: 2026-11-01, 2026-11-01T06:00, or 12h, 7d, 2w.",
        ),
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(
            "--outcome",
            metavar="OUTCOME",
            help=f"Only runs that ended so: {', '.join(_OUTCOMES)}.",
            autocompletion=complete.outcomes,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the runs did, newest first: a table, and on a terminal a plot over time."""
    if context.invoked_subcommand is not None:
        return
    oldest = None if since is None else parse_since(since, time.time())
    if outcome not in (None, *_OUTCOMES):
        raise typer.BadParameter(
            f"{printable(outcome)} is no outcome; there are {', '.join(_OUTCOMES)}",
            param_hint="--outcome",
        )
    with _errors_shown(as_json):
        found = _read(context, lambda history: history.runs(number or None, oldest, outcome))
    if as_json:
        write_history(found or [], sys.stdout)
    elif found:
        from narration_cleanup.report.history_text import show_history

        show_history(found)
    else:
        so = "" if outcome is None else f" that ended as {outcome}"
        typer.echo(f"No run{so} is recorded{'' if since is None else ' since then'}.")


@history_app.command("show", cls=LazyCommand)
def show_command(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A run's id, or last: the newest.", autocompletion=complete.runs
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Show one run whole: counts by reason and status, problems, the state after it."""
    if run != LAST and not re.fullmatch(r"0*[1-9][0-9]{0,8}", run, re.ASCII):
        raise typer.BadParameter(
            f"{printable(run)} is neither a run's number nor {LAST}", param_hint="ID"
        )
    with _errors_shown(as_json):
        record, items = _read(context, lambda history: _run(history, run)) or (None, [])
    if record is None:
        why = f"there is no run {run}: narration-cleanup history lists them"
        if run == LAST:
            why = "no run is recorded"
        if as_json:
            write_history([], sys.stdout, [Problem(Target.PROGRAM, "no_such_run", why)])
        raise CleanupError(why)
    if as_json:
        write_history([record], sys.stdout, items=items)
    else:
        from narration_cleanup.report.history_text import show_run_record

        show_run_record(record, items=items)


def _run(history: History, run: str) -> tuple[RunRecord | None, list[RunItem]]:
    """The run that ``run`` names, by its number or as the newest, and its items that are kept."""
    found = next(iter(history.runs(1)), None) if run == LAST else history.run(int(run))
    return found, [] if found is None else history.items_of(found.id)


def parse_since(text: str, now: float) -> float:
    """The instant that ``--since`` names: a date, a time (local unless it says), or an age."""
    aged = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhdw])", text.strip())
    if aged:
        return now - float(aged[1]) * _UNITS[aged[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"{printable(text)} is neither a date (2026-11-01), a time (2026-11-01T06:00) "
            "nor an age (12h, 7d, 2w)",
            param_hint="--since",
        ) from None


@contextmanager
def _errors_shown(as_json: bool) -> Iterator[None]:
    """Where the runs cannot be read, the JSON document has the reason too."""
    try:
        yield
    except CleanupError as error:
        problems = [Problem(Target.PROGRAM, "history_unreadable", str(error))]
        if isinstance(error, ConfigError):
            problems = configuration_problems(error)
        if as_json:
            write_history([], sys.stdout, problems)
        raise


def _read(context: typer.Context, look: Callable[[History], T]) -> T | None:
    """What ``look`` finds in the history; ``None`` where there is none.

    Raises ``CleanupError`` for a history that cannot be read.
    """
    named = context.obj if isinstance(context.obj, Path) else None
    settings = _settings(named)
    said: list[str] = []
    history = read_history(settings.cleanup.state_dir, warn=said.append)
    found = None
    if history is not None:
        found = look(history)
        history.close()
    if said:
        raise CleanupError(
            f"{said[0]}; the next run moves a damaged one aside, else give this user the right"
        )
    return found


def _settings(config_file: Path | None) -> Settings:
    """The settings; what is wrong with them is a warning where it is not the place of the history.

    Raises ``ConfigError`` where it is.
    """
    settings, said, state_known = load_partial(
        flags={}, config_file=config_file, environ=os.environ
    )
    if said and not state_known:
        raise ConfigError(*said)
    for text in (*said, *settings.warnings):
        typer.echo(settings_warning(text), err=True)
    if settings.cleanup.user is not None and not said:
        from narration_cleanup.run.run_as import act_as

        settings = act_as(settings)  # whose history it is
    if elsewhere := history_elsewhere(settings):
        typer.echo(f"WARNING - {elsewhere} [history_elsewhere]", err=True)
    elif settings.cleanup.state_dir == NO_STATE_DIR:
        typer.echo(f"WARNING - {NO_HISTORY}; {HISTORY_REMEDY} [history_unusable]", err=True)
    return settings
