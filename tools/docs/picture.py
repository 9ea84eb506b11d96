"""The pictures in the README: the real output, drawn by Rich."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

from tools.docs.console import ROOT, sandbox, write_program

COMMANDS = {"dry-run.svg": ("dry-run",), "stats.svg": ("stats",)}
COLUMNS = 84


def pictures() -> dict[str, str]:
    """SVG texts by file name, of the commands run on a terminal in a new sandbox."""
    from rich.ansi import AnsiDecoder
    from rich.console import Console

    drawn = {}
    with sandbox() as place:
        for name, arguments in COMMANDS.items():
            console = Console(record=True, width=COLUMNS, file=io.StringIO())
            for line in AnsiDecoder().decode(_on_terminal(arguments, place)):
                console.print(line)
            title = f"narration-cleanup {' '.join(arguments)}"
            drawn[name] = console.export_svg(title=title, unique_id=name.partition(".")[0])
    return drawn


def _on_terminal(arguments: tuple[str, ...], place: Path) -> str:
    """What the program writes to a terminal of ``COLUMNS`` columns."""
    controller, terminal = os.openpty()
    environment = {
        "COLUMNS": str(COLUMNS),
        "COLORTERM": "truecolor",
        "HOME": str(place.parent),
        "LANG": "C.UTF-8",
        "NARRATION_CLEANUP_CONFIG": "narration-cleanup.toml",
        "PATH": f"{place.parent / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "TERM": "xterm-256color",
        "TZ": "UTC",
    }
    program, descriptor = write_program(place)
    process = subprocess.Popen(
        [program, *arguments],
        cwd=place,
        env=environment,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
    )
    os.close(terminal)
    written = b""
    try:
        while block := os.read(controller, 65_536):
            written += block
    except OSError:  # the terminal's last user is gone
        pass
    finally:
        os.close(controller)
    process.wait()
    return written.decode().replace("\r\n", "\n")
