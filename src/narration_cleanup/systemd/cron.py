"""The same schedule as a line for cron, where there is no systemd."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from narration_cleanup.core.text import printable
from narration_cleanup.systemd.installation import CONFIG_VARIABLE, Installation
from narration_cleanup.systemd.interval import cron_times_of, span

CRON_PLACES = (Path("/etc/crontab"), Path("/etc/cron.d"), Path("/etc/cron.daily"))


def cron_lines(places: Sequence[Path] = CRON_PLACES) -> list[str]:
    """Lines of cron that name the program: of the system's tables, and of this user's own."""
    texts = []
    for place in places:
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        for file in files:
            with suppress(OSError):
                texts.append(file.read_text(errors="replace"))
    with suppress(OSError, subprocess.SubprocessError):
        own = subprocess.run(
            ["crontab", "-l"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5
        )
        texts.append(own.stdout)
    lines = (line.strip() for text in texts for line in text.splitlines())
    return [line for line in lines if "narration-cleanup" in line and not line.startswith("#")]


def cron_text(installation: Installation) -> str:
    """A crontab line with a comment above it. Quiet, so that cron sends a mail only for trouble.

    Raises ValueError for a path that would break the line.
    """
    times, even = cron_times_of(installation.interval_hours)
    words = [shlex.quote(word) for word in (*installation.program, "run", "--quiet")]
    pairs = [*installation.environment]
    if installation.config is not None:
        pairs.append((CONFIG_VARIABLE, str(installation.config)))
    given = [f"{name}={shlex.quote(value)}" for name, value in pairs]
    for value in (*installation.program, *(value for _, value in pairs)):
        if not value.isprintable():
            raise ValueError(f"a crontab cannot hold {printable(value)}: it has control characters")
    # In a crontab, a bare percent sign ends the command.
    command = " ".join([*given, *words]).replace("%", "\\%")
    every = f"every {span(installation.interval_hours)}"
    if not even:
        every += ", as nearly as cron can say it without being late"
    return (
        "# For the crontab of the user that owns the database (crontab -e): "
        f"{every}\n{times} {command}\n"
    )
