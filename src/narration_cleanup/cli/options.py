"""The options that ``run``, ``dry-run`` and ``stats`` share, made from the table of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from narration_cleanup.cli import complete
from narration_cleanup.report.log import LogFormat
from narration_cleanup.settings.show import option_help

_WHERE = "Where"
_RULES = "Rules"
_OUTPUT = "Output"


def _setting(
    name: str, flag: str, panel: str, metavar: str | None = None
) -> typer.models.OptionInfo:
    # No envvar and no default here: the settings read those, and know where a value came from.
    option: typer.models.OptionInfo = typer.Option(
        flag, help=option_help(name), show_default=False, rich_help_panel=panel, metavar=metavar
    )
    return option


CacheDir = Annotated[str | None, _setting("cache.dir", "--cache-dir", _WHERE, "DIR")]
RequestsDb = Annotated[str | None, _setting("requests.db", "--requests-db", _WHERE, "DB")]
AllowOtherUser = Annotated[
    bool,
    typer.Option(
        "--allow-other-user",
        help="Work on a request database that belongs to another user.",
        rich_help_panel=_WHERE,
    ),
]
RunAs = Annotated[str | None, _setting("cleanup.user", "--run-as", _WHERE, "USER")]
TtlDays = Annotated[str | None, _setting("cache.ttl_days", "--ttl-days", _RULES, "N")]
AbandonedTimeout = Annotated[
    str | None,
    _setting("requests.abandoned_timeout_hours", "--abandoned-timeout-hours", _RULES, "N"),
]
EnforceMaxSize = Annotated[
    bool | None, _setting("cache.enforce_max_size", "--enforce-max-size", _RULES)
]
MinFreeMb = Annotated[str | None, _setting("cache.min_free_mb", "--min-free-mb", _RULES, "MB")]
MaxDelete = Annotated[str | None, _setting("cleanup.max_delete", "--max-delete", _RULES, "N|N%")]
MaxCancel = Annotated[str | None, _setting("cleanup.max_cancel", "--max-cancel", _RULES, "N|N%")]
IgnoreClock = Annotated[
    bool,
    typer.Option(
        "--ignore-clock",
        help="Go ahead although the clock jumped since the last run.",
        rich_help_panel=_RULES,
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=_OUTPUT),
]
Prometheus = Annotated[
    bool,
    typer.Option(
        "--prometheus",
        help="The metrics, as Prometheus reads them, on stdout.",
        rich_help_panel=_OUTPUT,
    ),
]
LogForm = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        help="Log lines as text, or as JSON for log collectors: one object a line.",
        rich_help_panel=_OUTPUT,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q", "--quiet", help="Say nothing unless something is wrong.", rich_help_panel=_OUTPUT
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Say more: leave nothing out.", rich_help_panel=_OUTPUT),
]


VoiceStyle = Annotated[
    str | None,
    typer.Option(
        "--voice-style",
        metavar="NAME",
        help="Show the entries of one voice style alone, against its own TTL.",
        show_default=False,
        rich_help_panel=_OUTPUT,
        autocompletion=complete.voice_styles,
    ),
]


@dataclass(frozen=True, slots=True)
class Invocation:
    """How a command was called: what the flags say, by setting, and how it is to speak."""

    config_file: Path | None
    flags: Mapping[str, object | None]
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    allow_other_user: bool = False
    ignore_clock: bool = False
    log_format: LogFormat = LogFormat.TEXT
