"""Write the units, have systemd take them up, and take them away again."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from narration_cleanup.core.errors import CleanupError, ConfigError
from narration_cleanup.core.files import make_folder, replace_file
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import account_of, is_readable_by
from narration_cleanup.settings.sources import APP, make_readable
from narration_cleanup.systemd.discover import HEADER, handed_folder
from narration_cleanup.systemd.installation import (
    Installation,
    notify_names,
    service_name,
    timer_name,
)
from narration_cleanup.systemd.status import systemctl

_MARK = "# " + HEADER.splitlines()[0]


def check_user(installation: Installation) -> None:
    """Raise `ConfigError` where the unit's user does not exist on this machine."""
    if installation.user is None or installation.user.isdecimal():
        return
    try:
        account = pwd.getpwnam(installation.user)
    except KeyError:
        raise ConfigError(
            f"--run-as {printable(installation.user)}: there is no such user here"
        ) from None
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    config = installation.config
    if config is not None and account.pw_uid and not is_readable_by(config, account.pw_uid, groups):
        how = make_readable(grp.getgrgid(account.pw_gid).gr_name, config)
        raise ConfigError(
            f"{printable(config)} cannot be read by {account.pw_name}, the runs' user: {how}"
        )


def make_folders(installation: Installation) -> list[Path]:
    """Make those of the writable folders that are missing, for the unit's user; return them.

    Cache and database are looked at before: what is made here are the folders of the history and
    of the metrics, which others may read (node_exporter). ``StateDirectory=`` would be made by the
    first run: a command by hand is to find it from now on. By descriptor: the user may be able to
    put a link in the way of a path, and would get the folder that it leads to.
    """
    made = []
    account = None if installation.user is None else account_of(installation.user)
    owner = None if account is None else (account.uid, account.gid)
    for folder in dict.fromkeys(filter(None, (*installation.data, installation.history))):
        if folder.exists():
            continue
        try:
            make_folder(folder, owner, 0o755 if folder in installation.data else 0o750)
        except OSError as error:
            raise CleanupError(f"cannot make {printable(folder)}: {error.strerror}") from error
        made.append(folder)
    return made


def earlier_histories(installation: Installation) -> dict[str, Path]:
    """Histories of runs by hand in the homes of the runs' user and of root, who use the units'
    folder from now on; by user."""
    if installation.user is None or installation.state is None:
        return {}
    homes = {user: account_of(user).home for user in (installation.user, "root")}
    folders = {user: Path(home, ".local/state", APP) for user, home in homes.items()}
    return {user: folder for user, folder in folders.items() if folder.is_dir()}


def write_units(installation: Installation, units: Mapping[str, str], folder: Path) -> None:
    """Write the unit files, each whole or not at all; remove an earlier one that is not among them,
    since its message is not needed any more."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in units.items():
            replace_file(folder / name, text, 0o644)
        for name in notify_names(installation).values():
            if name not in units and _is_ours(folder / name):
                (folder / name).unlink()
    except OSError as error:
        hint = " (system units need root; --user needs none)"
        raise CleanupError(
            f"cannot write units into {printable(folder)}: {error.strerror}"
            + (hint if isinstance(error, PermissionError) else "")
        ) from error


def write_handed(installation: Installation, *, remove: bool = False) -> None:
    """Write the files that `handed` names, for root alone, in the place of those written before;
    `remove` takes these away alone."""
    folder = handed_folder(installation.instance)
    try:
        if folder.is_dir():
            for earlier in folder.iterdir():
                earlier.unlink()
            if remove:
                folder.rmdir()
        if installation.handed and not remove:
            make_folder(folder)
            folder.chmod(0o700)
            for file, text in installation.handed:
                replace_file(file, text, 0o600)
    except OSError as error:
        raise CleanupError(f"cannot write {printable(folder)}: {error.strerror}") from error


def enable(installation: Installation) -> None:
    """Have systemd read the units and start the timer, now and at every boot."""
    for_user = installation.user is None
    systemctl("daemon-reload", for_user=for_user)
    systemctl("enable", "--quiet", timer_name(installation), for_user=for_user)
    # Not `enable --now`, which leaves a running timer at its old interval.
    systemctl("restart", timer_name(installation), for_user=for_user)


def remove(installation: Installation, folder: Path) -> list[Path]:
    """Disable the timer and remove the units that `install` wrote; the files removed.

    A unit of the same name that was written otherwise is kept. So are history and configuration.
    """
    for_user = installation.user is None
    ours = [
        folder / name
        for name in (
            timer_name(installation),
            service_name(installation),
            *notify_names(installation).values(),
        )
        if _is_ours(folder / name)
    ]
    if installation.user is not None:
        write_handed(installation, remove=True)  # secrets: also where the units are gone
    if not ours:
        return []
    if folder / timer_name(installation) in ours:
        systemctl("disable", "--quiet", "--now", timer_name(installation), for_user=for_user)
    for path in ours:
        try:
            path.unlink()
        except OSError as error:
            raise CleanupError(f"cannot remove {printable(path)}: {error.strerror}") from error
    systemctl("daemon-reload", for_user=for_user)
    return ours


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text("utf-8").startswith(_MARK)
    except (OSError, UnicodeDecodeError):
        return False
