"""Where settings come from: the configuration file, and the folders of the platform.

The XDG rules are followed here, against the environment that was handed in.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.files import first_bytes
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import can_write_in, current_group, nearest_folder

APP = "narration-cleanup"
FILE_VARIABLE = "NARRATION_CLEANUP_CONFIG"
CONFIG_DIR = Path("/etc", APP)
SYSTEM_FILE = CONFIG_DIR / "config.toml"
STATE_ROOT = Path("/var/lib")
SYSTEM_STATE = STATE_ROOT / APP
"""What ``StateDirectory=`` of the system's units makes."""
NO_STATE_DIR = Path(os.devnull, "state")
"""Where none is known. It cannot be: nothing is found in it, and nothing can be written to it."""
NO_HISTORY = (
    f"no history is kept: there is no {SYSTEM_STATE} of this user, no $STATE_DIRECTORY and no home "
    "directory that it may write in"
)
HISTORY_REMEDY = (
    f"narration-cleanup systemd install makes {SYSTEM_STATE}; for runs without it, set "
    "cleanup.state_dir (NARRATION_CLEANUP_STATE_DIR)"
)
_MOST_BYTES = 1 << 20
"""Of a configuration file or a credential."""


def make_readable(group: str | None = None, file: Path | None = None) -> str:
    """What gives the configuration, which may hold secrets, to the runs' user and no other: the
    command, where its file and the user's group are known."""
    if group is None or file is None:
        return "chgrp it to the group of the runs' user, and chmod 0640 it"
    path = shlex.quote(str(file))
    return printable(f"sudo chgrp {group} {path} && sudo chmod 0640 {path}")


UNREADABLE = "; run this as the runs' user; if this is that user: "


def home(environ: Mapping[str, str]) -> str | None:
    """The home directory, or `None` for a user without one (as under systemd's DynamicUser)."""
    found = os.path.expanduser("~")
    return environ.get("HOME") or (found if os.path.isabs(found) else None)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """`text` with a leading `~` or `~user` replaced, where the home is known."""
    base = home(environ)
    if base is not None and (text == "~" or text.startswith("~/")):
        return base + text[1:]
    return os.path.expanduser(text) if text.startswith("~") else text


def state_dir(environ: Mapping[str, str]) -> tuple[Path, str]:
    """The default state folder, and where that was found; `NO_STATE_DIR` where neither systemd nor
    a home directory gives one that is there or can be made."""
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd gives several so
    if given:
        return Path(given).absolute(), "variable STATE_DIRECTORY"
    units = _folder_of_units(environ)
    if units is not None:
        return units, "the units' folder"
    folder = own_state_dir(environ)
    if folder is None or not (os.path.lexists(folder) or can_write_in(nearest_folder(folder))):
        return NO_STATE_DIR, "no folder is known"
    return folder, "default"


def own_state_dir(environ: Mapping[str, str]) -> Path | None:
    """The state folder of this user's runs by hand, as long as no units are installed."""
    return _user_dir(environ, "XDG_STATE_HOME", ".local/state")


def with_state(user: str, folder: Path) -> str:
    """The first words of a command that reads the history in a folder, as the user whose it is."""
    as_user = f"sudo -u {shlex.quote(user)}"
    if user == "root":  # whom cleanup.user would make another
        as_user = "sudo NARRATION_CLEANUP_USER=root"
    return f"{as_user} NARRATION_CLEANUP_STATE_DIR={shlex.quote(str(folder))}"


def state_of_units(config_file: Path | None) -> Path:
    """The state folder of the installed units that this file configures."""
    return SYSTEM_STATE / (instance_of(config_file) or "")


def _folder_of_units(environ: Mapping[str, str]) -> Path | None:
    """The state folder of the installed units, for their user and for root: a command by hand
    finds the history of the timed runs."""
    given = environ.get(FILE_VARIABLE)
    folder = state_of_units(Path(given) if given else None)
    try:
        status = folder.lstat()
    except OSError:
        return None
    usable = stat.S_ISDIR(status.st_mode) and os.geteuid() in (0, status.st_uid)
    return folder if usable else None


def instance_of(config_file: Path | None) -> str | None:
    """The instance that a file configures: NAME.toml beside the system's own is that of NAME."""
    if config_file is None or config_file == SYSTEM_FILE:
        return None
    return config_file.stem if config_file.parent == SYSTEM_FILE.parent else None


def default_files(environ: Mapping[str, str]) -> list[Path]:
    """Where a configuration file is looked for if none is named, first come first served."""
    folders: list[Path] = []
    user = _user_dir(environ, "XDG_CONFIG_HOME", ".config")
    if user is not None:
        folders.append(user)
    given = environ.get("CONFIGURATION_DIRECTORY", "").split(":")
    folders += [Path(folder).absolute() for folder in given if folder]
    return [folder / "config.toml" for folder in folders] + [SYSTEM_FILE]


def _user_dir(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    given = environ.get(variable, "")
    if os.path.isabs(given):  # the XDG rules: a relative one is to be ignored
        return Path(given) / APP
    base = home(environ)
    return None if base is None else Path(base) / below_home / APP


def find_file(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file that applies, absolute, or `None` where there is none.

    Raises `ConfigError` for a file that was asked for, by flag or variable, and is not there.
    """
    for source, given in (
        ("flag --config", None if named is None else str(named)),
        (f"variable {FILE_VARIABLE}", environ.get(FILE_VARIABLE)),
    ):
        if given:
            file = Path(expand(given, environ)).absolute()
            if not _is_there(file):
                raise ConfigError(
                    f"{source}: there is no file {printable(file)}, or none that this user can see"
                )
            return file
    return next((file for file in default_files(environ) if _is_there(file)), None)


def _is_there(file: Path) -> bool:
    try:
        file.stat()
    except OSError:  # missing, or in a folder that is closed to us (ProtectHome=yes)
        return False
    return True


def read_file(file: Path) -> bytes:
    """A whole regular file of a sensible size, or `/dev/null`; raises `OSError` for anything else:
    a pipe would be waited for, and `/dev/zero` has no end."""
    content = b"" if str(file) == os.devnull else first_bytes(file, _MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def read_toml(file: Path) -> dict[str, object]:
    """The file's tables; raises `ConfigError` saying what is wrong, and in which line."""
    import tomllib

    try:
        # With a last line end, so that a fault in the last line is reported by its number.
        return tomllib.loads(read_file(file).decode("utf-8-sig") + "\n")
    except OSError as error:
        how = ""
        if isinstance(error, PermissionError):
            how = UNREADABLE + make_readable(current_group(), file)
        raise ConfigError(f"file {printable(file)}: {error.strerror}{how}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"file {printable(file)}: not UTF-8 text (byte {error.start})") from error
    except ValueError as error:
        raise ConfigError(f"file {printable(file)}: not TOML: {printable(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"file {printable(file)}: nested too deep") from error
