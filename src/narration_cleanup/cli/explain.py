"""``explain``: why one entry, file or request is kept or removed, and when; and what runs did."""

from __future__ import annotations

import os
import shlex
import sys
import time
from typing import Annotated

import typer

from narration_cleanup.cli import options
from narration_cleanup.cli.options import Invocation, showing_progress
from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.model import RequestStatus, Severity
from narration_cleanup.core.text import printable_line
from narration_cleanup.core.users import current_user
from narration_cleanup.report import documents
from narration_cleanup.report.explain_text import Explained, show_explained
from narration_cleanup.report.history import FILE_NAME
from narration_cleanup.run.access import refuse_other_users
from narration_cleanup.run.explain import NO_SUCH_ITEM, explain
from narration_cleanup.run.run_as import act_as
from narration_cleanup.settings import Settings, load_settings, require_target
from narration_cleanup.settings.show import without_password
from narration_cleanup.settings.sources import own_state_dir, with_state

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The key of an entry, a file by its path or name, or the id of a request.",
        show_default=False,
    ),
]


@options.takes(*options.PLACES, *options.LIMITS, *options.REMOVALS, "as_json", "quiet")
def explain_command(call: Invocation, name: Name) -> None:
    """Say why an entry, file or request is kept or removed, and when. Changes nothing."""
    now = time.time()
    try:
        settings = load_settings(flags=call.flags, config_file=call.config_file, environ=os.environ)
        settings = act_as(settings)
        require_target(settings, by_flag=True)
        refuse_other_users(settings, writes=False)
        with showing_progress(sys.stderr, quiet=call.quiet or call.as_json) as progress:
            explained = explain(settings, name, now, progress)
    except ConfigError as error:
        if call.as_json:
            problems = documents.configuration_problems(error)
            _write(Explained(name, now, problems=problems))
        raise
    if call.as_json:
        _write(explained)
    if explained.is_known and not call.as_json:
        show_explained(explained)
    if not explained.history and (elsewhere := _asked_by_hand(settings)):
        statuses = {each.status for each in explained.items}
        if not explained.is_known or RequestStatus.CANCELLED in statuses:
            typer.echo(
                f"Runs by hand had another history, which is asked by: {elsewhere}", err=True
            )
    if not explained.is_known:
        raise CleanupError(_unknown(explained))
    raise typer.Exit(ExitCode.PARTLY_DONE if explained.unsurveyed else ExitCode.DONE)


def _write(explained: Explained) -> None:
    documents.write(documents.explained_document(explained), sys.stdout)


def _asked_by_hand(settings: Settings) -> str | None:
    """The same command about the runs by hand of this user before the units were installed, where
    there is a history of them."""
    folder, used = own_state_dir(os.environ), settings.cleanup.state_dir
    is_default = settings.origin("cleanup.state_dir").source == "default"
    if not is_default or folder in (None, used) or not os.path.isfile(folder / FILE_NAME):
        return None
    words = shlex.join(without_password(word) for word in sys.argv[1:])
    return printable_line(f"{with_state(current_user(), folder)} {options.this_program()} {words}")


def _unknown(explained: Explained) -> str:
    """What is said of a name that nothing has, and nothing had as far as that is known."""
    problems = [each for each in explained.problems if each.severity is Severity.PROBLEM]
    if explained.unsurveyed:
        why = f": {problems[0].message}" if problems else ""
        return f"no look at the {' and '.join(explained.unsurveyed)} was possible{why}"
    return f"{problems[-1].message} [{NO_SUCH_ITEM}]"
