"""The command line: reads the clock once, wires the rooms, picks the exit code; no decisions."""

import typer

from narration_cleanup import __version__

app = typer.Typer(name="narration-cleanup", no_args_is_help=True)


@app.callback(invoke_without_command=True)
def narration_cleanup(version: bool = typer.Option(False, "--version")) -> None:
    """Remove expired audio from a narration cache and cancel abandoned requests."""
    if version:
        typer.echo(f"narration-cleanup {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line with the process's own arguments; ends by raising SystemExit."""
    app()
