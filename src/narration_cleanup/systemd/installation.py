"""One installation: the facts its units are made from, and what those units are called."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from narration_cleanup.settings.sources import APP


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the units of one installation are made from. All paths are absolute.

    `program` is the words of a command line, up to the sub-command. `data` is what a run may
    write: folders that exist. `code` is what the program is made of, `config` its file.
    `environment` holds settings that came from variables or flags. `user` is None in a user's own
    manager, `group` where the user's own is the right one. The notify units read the history in
    the folder `history` by the group `readers`. `credentials` are (id, file) pairs; `handed` are
    files that are written for them, each with its text. A
    failure is always reported; `notify_start` and `notify_success` are whether the alerts need
    those too.
    """

    program: tuple[str, ...]
    user: str | None
    group: str | None = None
    data: tuple[Path, ...] = ()
    code: tuple[Path, ...] = ()
    config: Path | None = None
    state: str | None = APP
    history: Path | None = None
    readers: str | None = None
    environment: tuple[tuple[str, str], ...] = ()
    credentials: tuple[tuple[str, Path], ...] = ()
    notify_credentials: tuple[tuple[str, Path], ...] = ()
    handed: tuple[tuple[Path, str], ...] = field(default=(), repr=False)
    interval_hours: float = 6.0
    network: bool = False
    notify_start: bool = False
    notify_success: bool = False
    instance: str | None = None
    header: str = ""

    @property
    def needed(self) -> tuple[Path, ...]:
        """What the program reads to start."""
        return self.code if self.config is None else (*self.code, self.config)

    @property
    def stem(self) -> str:
        """The name of the units without their suffix: `narration-cleanup@voices`."""
        return APP if self.instance is None else f"{APP}@{self.instance}"


def service_name(installation: Installation) -> str:
    """The unit that runs the clean-up."""
    return f"{installation.stem}.service"


def timer_name(installation: Installation) -> str:
    """The unit that starts it."""
    return f"{installation.stem}.timer"


def notify_names(installation: Installation) -> dict[str, str]:
    """The units that notify of a failure, a success and a start.

    Failure and success have one each: systemd passes on how a run ended (`MONITOR_*`) only where
    a single dependency has started the unit.
    """
    return {
        "failure": f"{APP}-notify@{installation.stem}.service",
        "success": f"{APP}-notify-success@{installation.stem}.service",
        "start": f"{APP}-notify-start@{installation.stem}.service",
    }
