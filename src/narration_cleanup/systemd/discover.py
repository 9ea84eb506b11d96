"""The facts of this installation that its units are made from: settings, program, user, places."""

from __future__ import annotations

import grp
import os
import pwd
import re
import stat
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.files import way_to
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import is_readable_by, user_name
from narration_cleanup.settings import SETTINGS, Setting, Settings
from narration_cleanup.settings.show import without_password
from narration_cleanup.settings.sources import APP, CONFIG_DIR, STATE_ROOT, instance_of
from narration_cleanup.systemd.installation import Installation
from narration_cleanup.systemd.sandbox_mounts import top_level

HEADER = """\
Written by `narration-cleanup systemd install`, and overwritten by the next one.
Changes of your own belong in a drop-in: systemctl {user}edit {unit}"""
CREDENTIALS = CONFIG_DIR / "credentials"
"""Root's own files, one for each secret setting, named as the setting; `NAME/` in it for the
instance NAME. Each is given to the unit that needs it, and to no other process."""

_INSTANCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SHARED = frozenset(
    Path("/", name)
    for name in (
        *("", "etc", "home", "media", "mnt", "opt", "root", "run", "srv", "tmp", "usr"),
        *("usr/local", "var", "var/cache", "var/lib", "var/local", "var/log", "var/tmp"),
    )
)
_CARRIED = {"variable", "flag"}


def find_facts(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    for_user: bool = False,
    instance: str | None = None,
    run_as: str | None = None,
) -> Installation:
    """What the units of this installation are made from.

    `for_user` is for the user's own manager. Raises `ConfigError` for settings that no unit can
    be made from; whether the folders exist is looked at by `missing_folders`.
    """
    if instance is not None:
        check_instance(instance)
    _refuse_relative_paths(settings, for_user=for_user)
    state, state_folder = _state(settings, instance, for_user=for_user)
    data = [*_data_folders(settings), *state_folder]
    if not for_user:
        _refuse_shared_folders(data)
    secrets = [] if for_user else _credentials(credentials_folder(instance))
    alerts = settings.alerts
    handed = () if for_user else _handed(settings, handed_folder(instance))
    user = None if for_user else _user(settings, run_as)
    group, own_group = (None, None) if user is None else _groups(settings, user)
    return Installation(
        program=own_program(),
        user=user,
        group=group,
        history=None if user is None else STATE_ROOT / state if state else state_folder[0],
        readers=group or own_group,
        data=tuple(dict.fromkeys(data)),
        code=_code(),
        config=settings.config_file,
        state=state,
        environment=_carried(
            settings,
            environ,
            {name for name, _ in secrets},
            None if for_user else credentials_folder(instance),
        ),
        credentials=tuple(pair for pair in secrets if not pair[0].startswith("alerts.")),
        notify_credentials=(
            *(pair for pair in secrets if pair[0].startswith("alerts.")),
            *((file.name, file) for file, _ in handed),
        ),
        handed=handed,
        interval_hours=settings.cleanup.interval_hours,
        network=any("://" in (place or "") for place in (settings.cache.dir, settings.requests.db)),
        notify_start=alerts.ping_url is not None,
        notify_success=alerts.ping_url is not None
        or (bool(alerts.urls) and alerts.on != "failure"),
        instance=instance,
        header=HEADER.format(
            user="--user " if for_user else "",
            unit=APP if instance is None else f"{APP}@{instance}",
        ),
    )


def check_instance(instance: str) -> None:
    """Raise ``ConfigError`` for a name that could be a path, an option or a hidden file."""
    if not _INSTANCE.fullmatch(instance):
        raise ConfigError(
            f"--instance {printable(instance)}: expected letters, digits, dots, dashes or "
            "underscores, the first a letter or a digit"
        )


def credentials_folder(instance: str | None) -> Path:
    """Where the credentials of one installation are. Settings are read with them, since a
    database's address, with its password, may stand there alone."""
    return CREDENTIALS if instance is None else CREDENTIALS / instance


def handed_folder(instance: str | None) -> Path:
    """Where `install` writes what belongs to the alerts, for the notifying unit alone."""
    return CONFIG_DIR / ("notify" if instance is None else f"notify@{instance}")


def _handed(settings: Settings, folder: Path) -> tuple[tuple[Path, str], ...]:
    """The alerts of a configuration that not everybody can read: the notifying unit has a user of
    its own, who is in no group, and is to know no more of it."""
    file = settings.config_file
    if file is None or is_readable_by(file, -1, ()):
        return ()
    found = [
        (entry.name, settings.value(entry.name))
        for entry in SETTINGS
        if entry.section == "alerts" and settings.origin(entry.name).source == "file"
    ]
    return tuple(
        (folder / name, "\n".join(value) if isinstance(value, tuple) else str(value))
        for name, value in found
    )


def with_credentials(environ: Mapping[str, str], config_file: Path | None) -> dict[str, str]:
    """The environment as the unit of this configuration has it: with the credentials that systemd
    hands over, where this user may read them."""
    folder = credentials_folder(instance_of(config_file))
    given = environ.get("CREDENTIALS_DIRECTORY")
    if not given and os.access(folder, os.R_OK | os.X_OK):
        return {**environ, "CREDENTIALS_DIRECTORY": str(folder)}
    return dict(environ)


def for_units_alone(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """That settings are in credentials, which systemd hands to its units and cron to no run."""
    names = [each.name for each in SETTINGS if settings.origin(each.name).source == "credential"]
    if not names or environ.get("CREDENTIALS_DIRECTORY"):
        return None
    folder = credentials_folder(instance_of(settings.config_file))
    return (
        f"{', '.join(names)} in {folder}: systemd gives these to its units; the runs of cron or "
        "another scheduler are without"
    )


def missing_folders(settings: Settings) -> list[str]:
    """The configured places that are not there, as a line each; a unit would fail to start."""
    cache, database = settings.cache.path, settings.requests.path
    faults = []
    if cache is not None and not cache.is_dir():
        faults.append(f"cache.dir {printable(cache)} is not a directory: create it, or correct it")
    if database is not None and not database.parent.is_dir():
        faults.append(f"requests.db: {printable(database.parent)} is not a directory: correct it")
    return faults


def _refuse_relative_paths(settings: Settings, *, for_user: bool) -> None:
    """The file is read anew by each run: elsewhere, and in the system's units by another user."""
    faults = []
    for entry in SETTINGS:
        origin = settings.origin(entry.name)
        if origin.written is None or (for_user and origin.written.startswith("~")):
            continue
        faults.append(
            f"{printable(origin)}: {entry.name} is {printable(origin.written)}, which depends on "
            "where and "
            f"by whom a run is started: write {printable(settings.value(entry.name))} if that is "
            "meant"
        )
    if faults:
        raise ConfigError(*faults)


def _data_folders(settings: Settings) -> list[Path]:
    """The folders a run writes to, and where links lead from them: a link is no use without."""
    found, database = [settings.cache.path], settings.requests.path
    if database is not None:
        # SQLite puts its -wal and -shm next to the file that a link leads to.
        found += [database.parent, database.resolve().parent]
    if settings.metrics.textfile is not None:
        found.append(settings.metrics.textfile.parent)
    folders: list[Path] = []
    for folder in found:
        if folder is not None:
            folders += (
                [folder, folder.resolve()] if ".." not in folder.parts else [folder.resolve()]
            )
    return folders


def _refuse_shared_folders(folders: Iterable[Path]) -> None:
    """A unit may write in the whole folder that a file of its lies in: it is to hold that alone."""
    faults = [
        f"{printable(folder)} holds more than this program's data, and the unit could write to all "
        f"of it: make {printable(folder / 'narration')}, move the database (with its -wal and "
        "-shm), the cache or the metrics file there, and correct the setting"
        for folder in dict.fromkeys(folders)
        if folder in _SHARED or folder.parent == Path("/home")
    ]
    if faults:
        raise ConfigError(*faults)


def _state(
    settings: Settings, instance: str | None, *, for_user: bool
) -> tuple[str | None, list[Path]]:
    """`StateDirectory=`, and the folder to open for writing where that cannot say it."""
    folder = settings.cleanup.state_dir
    if ".." in folder.parts:
        folder = folder.resolve()
    if for_user:
        return None, [folder]
    if settings.origin("cleanup.state_dir").source == "default":
        return (APP if instance is None else f"{APP}/{instance}"), []
    if folder.is_relative_to(STATE_ROOT) and folder != STATE_ROOT:
        return str(folder.relative_to(STATE_ROOT)), []
    return None, [folder]


def _user(settings: Settings, run_as: str | None) -> str:
    """The unit's user: the one that is named, else the owner of the database or of the cache."""
    named = settings.cleanup.user
    if run_as is not None and named is not None and run_as != named:
        raise ConfigError(
            f"--run-as {printable(run_as)}, but cleanup.user is {printable(named)}: name one of "
            "them"
        )
    return run_as or named or owner_of_places(settings)


def owner_of_places(settings: Settings) -> str:
    """The user that owns the database, or else the cache. Raises ``ConfigError`` for neither.

    Not asked where a link of another user leads there, who would choose the unit's user.
    """
    for place in (settings.requests.path, settings.cache.path):
        if place is None:
            continue
        try:
            way = [status for _, status in way_to(place)]
        except OSError:
            continue
        owner = way[-1].st_uid
        links = {status.st_uid for status in way if stat.S_ISLNK(status.st_mode)}
        if links - {0}:
            raise ConfigError(
                f"a link that is not root's leads to {printable(place)}: add --run-as USER"
            )
        return user_name(owner, "{}")
    raise ConfigError("no local database or cache shows whose files these are: add --run-as USER")


def _groups(settings: Settings, user: str) -> tuple[str | None, str | None]:
    """The group of the index (or of the cache), where it is not `user`'s own, and the user's own,
    in which the state directory is. The sandbox cannot give a file to a group that the run is not
    in. ``None`` for what is not known: neither user nor place need be there to print units."""
    group = own_group = None
    with suppress(KeyError, OSError):
        account = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
        cache, own = settings.cache.path, account.pw_gid
        with suppress(KeyError):
            own_group = grp.getgrgid(own).gr_name
        if cache is not None:
            index = cache / (settings.cache.index or ".")
            gid = os.stat(index if index.exists() else cache).st_gid
            group = None if gid == own else grp.getgrgid(gid).gr_name
    return group, own_group


def own_program() -> tuple[str, ...]:
    """How this very program is started: by its own script, else as a module of its Python.

    Where a link leads, and not the link: pipx keeps links in homes, which the units do not see.
    """
    script = Path(sys.argv[0]).resolve()
    if script.name == APP and os.access(script, os.X_OK):
        return (str(script),)
    return (sys.executable, "-m", "narration_cleanup")


def _code() -> tuple[Path, ...]:
    """Every folder that holds a part of the program: environment, Python, this package."""
    package = Path(__file__).resolve().parent.parent.parent
    bases = [Path(sys.prefix), Path(sys.base_prefix)]
    places = [*bases, *(base.resolve() for base in bases), package, Path(own_program()[0]).parent]
    outer = [path for path in dict.fromkeys(places) if not path.is_relative_to("/usr")]
    return tuple(top_level(outer))


def _credentials(folder: Path) -> list[tuple[str, Path]]:
    try:
        found = sorted(os.listdir(folder))
    except (FileNotFoundError, PermissionError):  # root's; who installs system units is root
        return []
    except OSError as error:
        raise ConfigError(f"{printable(folder)}: {error.strerror}") from error
    names = {spelling: entry.name for entry in SETTINGS for spelling in (entry.name, entry.env)}
    return [(names[each], folder / each) for each in found if each in names]


def _carried(
    settings: Settings, environ: Mapping[str, str], credentials: set[str], folder: Path | None
) -> tuple[tuple[str, str], ...]:
    """Settings that came from variables or flags, which the unit would not see otherwise.

    A secret is not written into a unit, which everybody can read, nor into a crontab: in the
    system's units it belongs into `folder`.
    """
    carried, faults = [], []
    for entry in SETTINGS:
        if settings.origin(entry.name).source not in _CARRIED or entry.name in credentials:
            continue
        text = _as_text(entry, settings, environ)
        if entry.secret or without_password(text) != text:
            place = "the configuration file"
            if folder is not None:
                place = f"the file {folder / entry.name} (mode 0600)"
            faults.append(
                f"{settings.origin(entry.name)}: a secret is written into no unit or crontab: put "
                f"it into {place}, and install again"
            )
        else:
            carried.append((entry.env, text))
    if faults:
        raise ConfigError(*faults)
    return tuple(carried)


def _as_text(entry: Setting, settings: Settings, environ: Mapping[str, str]) -> str:
    value = settings.value(entry.name)
    if entry.kind.is_path and value is not None:
        return str(value)  # absolute now; systemd starts programs elsewhere
    if settings.origin(entry.name).source == "variable":
        return environ[entry.env].strip()
    return f"{value:.15g}" if isinstance(value, float) else str(value)
