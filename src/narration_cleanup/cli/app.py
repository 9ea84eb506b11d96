"""The command line: wires the commands, and turns every error into one line and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from narration_cleanup import __version__
from narration_cleanup.cli.lazy import LazyCommand, LazyGroup
from narration_cleanup.core import signals
from narration_cleanup.core.errors import CleanupError, with_code
from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.text import printable_line
from narration_cleanup.report.streams import let_go, stand_in_for_closed_streams, write_or_wait

_EXIT_CODES = """Exit codes: 0 done; 1 failed; 2 usage; 3 partly done; 4 refused for safety;
75 another run holds the lock; 78 bad configuration; 130 and 143 stopped by SIGINT and SIGTERM."""

_COMMANDS = {
    "run": ("run", "run_command"),
    "dry-run": ("run", "dry_run_command"),
    "stats": ("stats", "stats_command"),
    "history": ("history", "history_app"),
    "explain": ("explain", "explain_command"),
    "check": ("check", "check_command"),
    "config": ("config", "config_app"),
    "systemd": ("systemd", "systemd_app"),
    "notify": ("notify", "notify_command"),
    "schema": ("schema", "schema_command"),
    "demo": ("demo", "demo_command"),
}
"""Where each command is found, in the order of the help: module in ``commands``, name in it."""
_MAIN = ("run", "dry-run", "stats")
_BEFORE_THE_COMMAND = ("-c", "--config", "--version")
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class _Commands(LazyGroup):
    """The commands, each imported when it is called for: a start pays for its own alone."""

    def list_commands(self, ctx: object) -> list[str]:
        """Their names."""
        return list(_COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | TyperGroup | None:
        """One of them; for a name that is none all are imported, to find out what was meant."""
        for name in [cmd_name] if cmd_name in _COMMANDS else _COMMANDS:
            self.commands[name] = _imported(name)
        return _imported(cmd_name) if cmd_name in _COMMANDS else None


@cache
def _imported(name: str) -> TyperCommand | TyperGroup:
    module, attribute = _COMMANDS[name]
    found = getattr(import_module(f"narration_cleanup.cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=LazyCommand, epilog=_EXIT_CODES if name in _MAIN else None)(found)
    command = typer.main.get_command(alone)
    assert isinstance(command, TyperCommand)
    return command


app = typer.Typer(
    name="narration-cleanup",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import platform
        import sqlite3
        from importlib.util import find_spec

        extras = {"alerts": "apprise", "postgres": "psycopg", "s3": "obstore"}
        there = [name for name, module in extras.items() if find_spec(module) is not None]
        typer.echo(f"narration-cleanup {__version__}")
        typer.echo(
            f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
            f"extras: {', '.join(there) or 'none'}"
        )
        raise typer.Exit


@app.callback()
def narration_cleanup(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "-c",
            "--config",
            metavar="FILE",
            readable=False,  # what cannot be read is reported as a wrong configuration
            help="The configuration file (NARRATION_CLEANUP_CONFIG; default: the user's, then "
            "/etc/narration-cleanup/config.toml).",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_print_version,
            is_eager=True,
            help="Show the version, and those of Python and SQLite.",
        ),
    ] = False,
) -> None:
    """Keep a narration service healthy: remove expired audio, cancel abandoned requests."""
    context.obj = config


def main() -> None:
    """Run the command line with the process's own arguments; ends by raising SystemExit."""
    signals.decide(None)
    stand_in_for_closed_streams()
    for number in signals.signals_to_hear():
        signal.signal(number, signals.end)  # a run has a handler of its own
    try:
        sys.exit(app(prog_name="narration-cleanup", standalone_mode=False))
    except CleanupError as error:
        for line in str(error).splitlines():
            _print_error(line, error.exit_code)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except typer.TyperException as error:
        _report_usage(error)
        sys.exit(ExitCode.USAGE)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _UNWRITABLE and error.filename is None:
            let_go(sys.stdout)
            _print_error(f"the output could not be written: {error.strerror}")
            sys.exit(ExitCode.FAILED)
        if {"-v", "--verbose"} & set(sys.argv):
            raise
        hint = "; -v shows where" if set(_MAIN) & set(sys.argv) else ""
        _print_error(f"internal error: {type(error).__name__}: {error}{hint}")
        sys.exit(ExitCode.FAILED)


def _report_usage(error: typer.TyperException) -> None:
    """One line, as for every other error; nothing where the help has been shown instead."""
    message = error.format_message()
    if not message or message.lstrip().startswith("Usage:"):
        write_or_wait(sys.stderr, message)  # the help in plain text, not shown yet
        return
    context: typer.Context | None = getattr(error, "ctx", None)
    command = "narration-cleanup" if context is None else context.command_path
    hint = f"{command} --help shows what there is"
    option = getattr(error, "option_name", None)
    if option in _BEFORE_THE_COMMAND and context is not None and context.parent is not None:
        hint = f"put it before the command: narration-cleanup {option} ..."
    _print_error(f"{message.rstrip('.')}; {hint}", ExitCode.USAGE)


def _print_error(line: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
    write_or_wait(sys.stderr, f"ERROR - {with_code(printable_line(line), exit_code)}\n")
