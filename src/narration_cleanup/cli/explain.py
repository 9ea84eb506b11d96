"""``explain``: why one entry, file or request is kept or removed, and when; and what runs did."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

from narration_cleanup.cli import options
from narration_cleanup.cli.options import Invocation, showing_progress
from narration_cleanup.core.errors import CleanupError, ConfigError, ExitCode
from narration_cleanup.core.model import Severity
from narration_cleanup.report import documents
from narration_cleanup.report.explain_text import Explained, show_explained
from narration_cleanup.run.access import refuse_other_users
from narration_cleanup.run.explain import NO_SUCH_ITEM, explain
from narration_cleanup.run.run_as import act_as
from narration_cleanup.settings import load_settings, require_target

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
    if not explained.is_known:
        raise CleanupError(_unknown(explained))
    if not call.as_json:
        show_explained(explained)
    raise typer.Exit(ExitCode.PARTLY_DONE if explained.unsurveyed else ExitCode.DONE)


def _write(explained: Explained) -> None:
    documents.write(documents.explained_document(explained), sys.stdout)


def _unknown(explained: Explained) -> str:
    """What is said of a name that nothing has, and nothing had as far as that is known."""
    problems = [each for each in explained.problems if each.severity is Severity.PROBLEM]
    if explained.unsurveyed:
        why = f": {problems[0].message}" if problems else ""
        return f"no look at the {' and '.join(explained.unsurveyed)} was possible{why}"
    return f"{problems[-1].message} [{NO_SUCH_ITEM}]"
