"""``demo``: makes a sandbox, and shows ``dry-run``, ``run`` and ``stats`` at work in it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from narration_cleanup.cli.options import this_program
from narration_cleanup.cli.run import dry_run_command, run_command
from narration_cleanup.cli.stats import stats_command
from narration_cleanup.core.errors import CleanupError
from narration_cleanup.demo.sandbox import Sandbox, make_sandbox
from narration_cleanup.report.format import count
from narration_cleanup.report.streams import is_terminal
from narration_cleanup.report.terminal import open_console

_STEPS: tuple[tuple[str, str, Callable[[typer.Context], None]], ...] = (
    ("What would a run do?", "dry-run", dry_run_command),
    ("Now let it do that.", "run", run_command),
    ("What is the state now?", "stats", stats_command),
)
_NEXT = (
    ("stats --json", "the same for programs"),
    ("dry-run -v", "nothing is left to do"),
    ("history", "the run above, as it is recorded"),
    ("config show", "every setting, and where it came from"),
    ("--help", "all there is"),
)
_FOREIGN = ("NARRATION_", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY")


def demo_command(
    context: typer.Context,
    directory: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR",
            help="Where to make the sandbox: a new or an empty folder; a temporary one if left "
            "out. It is left there.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """See it at work: makes a small sandbox, cleans it up, and leaves it to be tried on."""
    foreign = _forget_foreign_settings()
    sandbox = make_sandbox(directory or _temporary_folder(), time.time())
    console = open_console(sys.stdout, terminal=is_terminal(sys.stdout))

    def say(line: str = "", style: str | None = None) -> None:
        console.print(line, style=style, soft_wrap=True)

    unset = "".join(f"-u {variable} " for variable in foreign)  # what would interfere again
    program = f"env {unset}{this_program()}" if unset else this_program()
    _introduce(sandbox, say)
    context.obj = sandbox.config
    worst = 0
    for number, (title, command, work) in enumerate(_STEPS, 1):
        say()
        say(f"{number}. {title}", "bold cyan")
        if number == 1:
            say(f"   $ cd {shlex.quote(str(sandbox.directory))}", "bright_black")
        say(f"   $ {program} -c {sandbox.config.name} {command}", "bright_black")
        say()
        worst = max(worst, _exit_code(work, context))
    _say_what_next(sandbox, program, say)
    raise typer.Exit(worst)


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="narration-demo-"))
    except OSError as error:
        raise CleanupError(
            f"cannot make a temporary folder: {error.strerror}; name one: "
            "narration-cleanup demo DIR"
        ) from error


def _introduce(sandbox: Sandbox, say: Callable[..., None]) -> None:
    lines = (
        "A narration service has been at work in",
        f"  {sandbox.directory}",
        f"  {count(sandbox.entry_count, 'narration')} in five voices, made here and fit to be "
        "played:",
        f"     {sandbox.expired_count} are older than 7 days, and one has lost its audio",
        "  2 files that no narration needs: an orphan, kept for its first hour, and a partial one",
        f"  {count(sandbox.request_count, 'request')}: {sandbox.abandoned_count} were abandoned",
        "All that follows happens there, and nowhere else.",
    )
    say("narration-cleanup demo", "bold")
    say("\n".join(["", *lines]))


def _say_what_next(sandbox: Sandbox, program: str, say: Callable[..., None]) -> None:
    say("\nThe sandbox is left there. To try next:\n", "bold cyan")
    say(f"  cd {shlex.quote(str(sandbox.directory))}")
    for arguments, what in _NEXT:
        say(f"  {program} -c {sandbox.config.name} {arguments}")
        say(f"      {what}", "bright_black")
    if audio := sorted(sandbox.cache.glob("*.wav")):
        player = next(filter(shutil.which, ("aplay", "afplay", "ffplay", "mpv")), None)
        listen = f"{player} " if player else ""
        say(f"  {listen}{audio[0].relative_to(sandbox.directory)}")
        say("      a narration to listen to", "bright_black")


def _exit_code(work: Callable[[typer.Context], None], context: typer.Context) -> int:
    """The exit code of a command called as the command line calls it."""
    sys.stdout.flush()
    try:
        work(context)
    except typer.Exit as end:
        return end.exit_code
    finally:
        sys.stdout.flush()
    return 0


def _forget_foreign_settings() -> list[str]:
    """Take the caller's own settings out of the environment, which would win over the sandbox's.

    Without this, a demo started on a configured machine would clean up the service's cache.
    """
    found = [name for name in os.environ if name.startswith(_FOREIGN)]
    for name in found:
        del os.environ[name]
    return found
