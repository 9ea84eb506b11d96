"""The command line: wires the commands, and turns every error into one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from narration_cleanup import __version__
from narration_cleanup.commands.frugal import FrugalCommand, FrugalGroup
from narration_cleanup.errors import CleanupError, ExitCode
from narration_cleanup.escape import shown_line
from narration_cleanup.output.streams import stand_in_for_closed_streams

if TYPE_CHECKING:
    from typer._click import Command

_EXIT_CODES = """Exit codes: 0 done; 1 failed; 2 usage; 3 partly done; 4 refused for safety;
75 another run holds the lock; 78 bad configuration; 130 and 143 stopped by SIGINT and SIGTERM."""

_COMMANDS = {
    "run": ("cleanup", "run_command"),
    "dry-run": ("cleanup", "dry_run_command"),
    "stats": ("stats", "stats_command"),
    "history": ("history", "history_app"),
    "check": ("check", "check_command"),
    "config": ("config", "config_app"),
    "systemd": ("systemd", "systemd_app"),
    "notify": ("notify", "notify_command"),
    "schema": ("schema", "schema_command"),
    "demo": ("demo", "demo_command"),
}
"""Where each command is found, in the order of the help: module in ``commands``, name in it."""
_MAIN = ("run", "dry-run", "stats")


class _Commands(FrugalGroup):
    """The commands, each imported when it is called for: a start pays for its own alone."""

    def list_commands(self, ctx: object) -> list[str]:
        """Their names."""
        return list(_COMMANDS)

    def get_command(self, ctx: object, cmd_name: str) -> Command | None:
        """One of them; for a name that is none all are imported, to find out what was meant."""
        for name in [cmd_name] if cmd_name in _COMMANDS else _COMMANDS:
            if name not in self.commands:
                self.commands[name] = _imported(name)
        return self.commands.get(cmd_name)


def _imported(name: str) -> Command:
    module, attribute = _COMMANDS[name]
    found = getattr(import_module(f"narration_cleanup.commands.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return typer.main.get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=FrugalCommand, epilog=_EXIT_CODES if name in _MAIN else None)(found)
    return typer.main.get_command(alone)


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
        typer.echo(f"narration-cleanup {__version__}")
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
            help="The configuration file (NARRATION_CLEANUP_CONFIG; default: the user's, then "
            "/etc/narration-cleanup/config.toml).",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Keep a narration service healthy: expired audio goes, abandoned requests are cancelled."""
    context.obj = config


def main() -> None:
    """Run the command line with the process's own arguments; ends by raising SystemExit."""
    stand_in_for_closed_streams()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    try:
        app(prog_name="narration-cleanup")
    except CleanupError as error:
        for line in str(error).splitlines():
            _tell(shown_line(line))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except Exception as error:
        if {"-v", "--verbose"} & set(sys.argv):
            raise
        _tell(f"internal error: {type(error).__name__}: {shown_line(error)}; -v shows where")
        sys.exit(ExitCode.FAILED)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Commands that only look end at once; a run has a handler of its own."""
    raise SystemExit(128 + number)


def _tell(line: str) -> None:
    print(f"narration-cleanup: {line}", file=sys.stderr)
