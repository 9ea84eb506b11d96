"""Talk to systemd, by its own commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from narration_cleanup.core.errors import CleanupError
from narration_cleanup.core.text import printable

SYSTEM_UNITS = Path("/etc/systemd/system")
_RUNNING = Path("/run/systemd/system")  # what sd_booted(3) looks at


def is_running() -> bool:
    """Whether this machine was booted by systemd, and its command is here."""
    return _RUNNING.is_dir() and shutil.which("systemctl") is not None


def unit_folder(*, for_user: bool) -> Path:
    """Where units are installed: /etc/systemd/system, or the user's own folder."""
    if not for_user:
        return SYSTEM_UNITS
    given = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".config"
    return base / "systemd/user"


def systemctl(*arguments: str, for_user: bool = False) -> str:
    """Run `systemctl`; its output. Raises `CleanupError` with what it said when it fails."""
    command = ["systemctl", *(["--user"] if for_user else []), *arguments]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise CleanupError(f"cannot run systemctl: {error.strerror}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit {done.returncode}"
        raise CleanupError(f"{' '.join(command[:3])}: {printable(said)}")
    return done.stdout
