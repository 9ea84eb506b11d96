"""The options that several commands share, each written once."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, TextIO

import typer

from narration_cleanup.cli.lazy import flag
from narration_cleanup.core.model import NoProgress, Progress
from narration_cleanup.report.log import LogFormat
from narration_cleanup.settings import BY_NAME
from narration_cleanup.settings.show import option_help
from narration_cleanup.settings.sources import APP

_WHERE = "Where"
_RULES = "Rules"
OUTPUT = "Output"


def _setting(name: str, panel: str, metavar: str) -> object:
    # No envvar and no default here: the settings read those, and know where a value came from.
    option = typer.Option(
        str(BY_NAME[name].flag),
        help=option_help(name),
        show_default=False,
        rich_help_panel=panel,
        metavar=metavar,
    )
    kind = bool if isinstance(BY_NAME[name].default, bool) else str
    return Annotated[kind | None, option]


_OPTIONS: dict[str, object] = {
    "cache.dir": _setting("cache.dir", _WHERE, "DIR"),
    "requests.db": _setting("requests.db", _WHERE, "DB"),
    "requests.allow_other_user": _setting("requests.allow_other_user", _WHERE, ""),
    "cleanup.user": _setting("cleanup.user", _WHERE, "USER"),
    "cache.ttl_days": _setting("cache.ttl_days", _RULES, "N"),
    "requests.abandoned_timeout_hours": _setting("requests.abandoned_timeout_hours", _RULES, "N"),
    "cache.enforce_max_size": _setting("cache.enforce_max_size", _RULES, ""),
    "cache.min_free_mb": _setting("cache.min_free_mb", _RULES, "MB"),
    "cleanup.max_delete": _setting("cleanup.max_delete", _RULES, "N|N%"),
    "cleanup.max_cancel": _setting("cleanup.max_cancel", _RULES, "N|N%"),
    "ignore_clock": flag(
        "--ignore-clock", "Go ahead although the clock jumped since the last run.", _RULES
    ),
    "as_json": flag("--json", "One JSON document on stdout.", OUTPUT),
    "quiet": flag("-q,--quiet", "Say nothing unless something is wrong.", OUTPUT),
    "verbose": flag("-v,--verbose", "Say more: leave nothing out.", OUTPUT),
    "log_format": Annotated[
        LogFormat | None,
        typer.Option(
            "--log-format",
            help="Log lines as text (default), or as JSON for log collectors: one object a line.",
            show_default=False,
            rich_help_panel=OUTPUT,
        ),
    ],
}
"""By a setting's name, or by that of a member of ``Invocation``."""
PLACES = ("cache.dir", "requests.db", "cleanup.user", "requests.allow_other_user")
LIMITS = ("cache.ttl_days", "requests.abandoned_timeout_hours")
REMOVALS = (
    *("cache.enforce_max_size", "cache.min_free_mb"),
    *("cleanup.max_delete", "cleanup.max_cancel"),
)


def _voice_styles(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from narration_cleanup.cli.complete import voice_styles

    return voice_styles(context, incomplete)


def voice_style(about: str, panel: str) -> object:
    """The option that takes the entries of one voice style."""
    return typer.Option(
        "--voice-style",
        metavar="NAME",
        help=about,
        show_default=False,
        rich_help_panel=panel,
        autocompletion=_voice_styles,
    )


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a command was called: what the flags say, by setting, and how it is to speak."""

    config_file: Path | None
    flags: Mapping[str, object | None]
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    ignore_clock: bool = False
    log_format: LogFormat = LogFormat.TEXT


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options; it gets their values as an ``Invocation``, its first argument.

    Its other parameters are options of its own.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(context: typer.Context, **given: object) -> None:
            values = {name: given.pop(name.replace(".", "_"), None) for name in names}
            flags = {name: value for name, value in values.items() if name in BY_NAME}
            rest = {name: value for name, value in values.items() if name not in BY_NAME and value}
            make: Callable[..., Invocation] = Invocation
            command(make(context.obj, flags, **rest), **given)

        parameters = [Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        for name in names:
            default = None if name in BY_NAME or name == "log_format" else False
            parameters.append(
                Parameter(
                    name.replace(".", "_"),
                    Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=_OPTIONS[name],
                )
            )
        own = list(signature(command, eval_str=True).parameters.values())[1:]
        parameters += [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own]
        vars(called).update(__signature__=Signature(parameters))
        return called

    return decorate


def this_program() -> str:
    """How the caller can start this very program: by its name where that is what the path has."""
    from narration_cleanup.systemd.discover import own_program

    found, words = shutil.which(APP), own_program()
    is_found = found is not None and (len(words) > 1 or os.path.samefile(found, words[0]))
    return APP if is_found else shlex.join(words)


@contextmanager
def showing_progress(stream: TextIO, *, quiet: bool = False) -> Iterator[Progress]:
    """Progress on ``stream`` (stderr) where that is a terminal, and none where it is not.

    The bar is erased at the end, so that only the report is left.
    """
    if quiet or not stream.isatty():
        yield NoProgress()
        return
    from narration_cleanup.report.progress_bar import TerminalProgress

    shown = TerminalProgress(stream)
    try:
        yield shown
    finally:
        shown.close()
