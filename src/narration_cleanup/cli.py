"""The command line: wires the commands, and turns every error into one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from narration_cleanup import __version__
from narration_cleanup.commands.check import check_command
from narration_cleanup.commands.cleanup import dry_run_command, run_command
from narration_cleanup.commands.config import config_app
from narration_cleanup.commands.demo import demo_command
from narration_cleanup.commands.history import history_app
from narration_cleanup.commands.notify import notify_command
from narration_cleanup.commands.schema import schema_command
from narration_cleanup.commands.stats import stats_command
from narration_cleanup.commands.systemd import systemd_app
from narration_cleanup.errors import CleanupError, ExitCode
from narration_cleanup.escape import shown
from narration_cleanup.output.streams import stand_in_for_closed_streams

_EXIT_CODES = """Exit codes: 0 done; 1 failed; 2 usage; 3 partly done; 4 refused for safety;
75 another run holds the lock; 78 bad configuration; 130 and 143 stopped by SIGINT and SIGTERM."""

app = typer.Typer(
    name="narration-cleanup",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=_EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", epilog=_EXIT_CODES)(run_command)
app.command("dry-run", epilog=_EXIT_CODES)(dry_run_command)
app.command("stats", epilog=_EXIT_CODES)(stats_command)
app.command("demo")(demo_command)
app.command("schema")(schema_command)
app.command("check")(check_command)
app.command("notify")(notify_command)
app.add_typer(history_app)
app.add_typer(config_app)
app.add_typer(systemd_app)


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
        app()
    except CleanupError as error:
        for line in str(error).splitlines():
            _tell(shown(line))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.DONE)
    except Exception as error:
        if {"-v", "--verbose"} & set(sys.argv):
            raise
        _tell(f"internal error: {type(error).__name__}: {shown(error)}; -v shows where")
        sys.exit(ExitCode.FAILED)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Commands that only look end at once; a run has a handler of its own."""
    raise SystemExit(128 + number)


def _tell(line: str) -> None:
    print(f"narration-cleanup: {line}", file=sys.stderr)
