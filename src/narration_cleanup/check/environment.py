"""What a run needs besides cache and requests: settings, state folder, metrics file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from narration_cleanup.check.cache import little_space
from narration_cleanup.check.finding import Finding, failed, passed, warning
from narration_cleanup.core.files import check_own_file
from narration_cleanup.core.users import (
    can_read_in,
    can_write_in,
    current_user,
    described,
    nearest_folder,
)
from narration_cleanup.report.format import count
from narration_cleanup.report.history import FILE_NAME
from narration_cleanup.report.history.database import ENDINGS
from narration_cleanup.report.metrics import is_page
from narration_cleanup.settings import SETTINGS, Settings
from narration_cleanup.settings.show import safe, toml
from narration_cleanup.settings.sources import (
    HISTORY_REMEDY,
    NO_HISTORY,
    NO_STATE_DIR,
    UNREADABLE,
    make_readable,
)
from narration_cleanup.systemd.discover import CREDENTIALS


def check_settings(settings: Settings, faults: Sequence[str]) -> Iterator[Finding]:
    """Faults and warnings of the settings, and, where all are valid, where each came from."""
    for fault in faults:
        message, unreadable, how = fault.partition(UNREADABLE)
        remedy = "correct it, then: narration-cleanup config validate"
        if unreadable:
            remedy = unreadable.removeprefix("; ") + how
        yield failed("settings", message, remedy)
    for text in settings.warnings:
        yield warning("settings", text, "correct the name, or remove it")
    yield from _open_secrets(settings)
    details = [
        f"{entry.name} = {toml(safe(entry, settings.value(entry.name)))}"
        f"  ({settings.origin(entry.name)})"
        for entry in SETTINGS
        if settings.origin(entry.name).source != "default"
    ]
    if faults:
        return
    if settings.cache.dir is None and settings.requests.db is None:
        yield failed(
            "settings",
            "Nothing configured: neither cache.dir nor requests.db is set",
            "set cache.dir (NARRATION_CACHE_DIR) or requests.db (NARRATION_REQUESTS_DB), or both",
        )
    else:
        file = settings.config_file
        source = "no configuration file" if file is None else f"file {file}"
        are_set = count(len(details), "setting is set", "settings are set")
        yield passed("settings", f"valid; {source}, {are_set}", details)


def _open_secrets(settings: Settings) -> Iterator[Finding]:
    """A configuration file that others can read and that holds a secret."""
    file = settings.config_file
    secret = [
        entry.name
        for entry in SETTINGS
        if settings.origin(entry.name).source == "file"
        and safe(entry, settings.value(entry.name)) != settings.value(entry.name)
    ]
    with suppress(OSError):
        if file is not None and secret and file.stat().st_mode & 0o004:
            message = f"{file} holds {', '.join(secret)}, and every user can read it"
            remedy = (
                f"{make_readable()}; or move each into a file of root's, {CREDENTIALS}/NAME, and "
                "install the units again"
            )
            yield warning("settings.secrets", message, remedy)


def check_state(settings: Settings) -> Iterator[Finding]:
    """The state folder, where the history is kept."""
    folder = settings.cleanup.state_dir
    origin = settings.origin("cleanup.state_dir")
    nearest = nearest_folder(folder)
    if folder == NO_STATE_DIR:
        message = f"runs work, but {NO_HISTORY}"
        yield warning("state.directory", message, HISTORY_REMEDY)
    elif not nearest.is_dir():
        message = f"{nearest} is not a directory, so {folder} cannot be used (from {origin})"
        remedy = "set cleanup.state_dir (NARRATION_CLEANUP_STATE_DIR) to a folder"
        yield failed("state.directory", message, remedy)
    elif not can_write_in(nearest) or not can_read_in(nearest):
        yield failed(
            "state.directory",
            f"{current_user()} may not write in {nearest} ({described(nearest.stat())}): no "
            "history is kept",
            f"make {folder} as root and give it to {current_user()}, or set cleanup.state_dir",
        )
    elif (why := little_space(nearest)) is not None:
        message = f"{why[0]}: no history is kept, and the cache is cleaned all the same"
        yield failed("state.directory", message, why[1])
    elif nearest == folder and (untrusted := _untrusted(folder / FILE_NAME, *ENDINGS)):
        remedy = (
            "put that right, or set cleanup.state_dir to a folder that only "
            f"{current_user()} writes to"
        )
        yield failed("state.directory", f"{untrusted}; until then no history is kept", remedy)
    else:
        yet = "" if nearest == folder else ", made by the first run"
        yield passed("state.directory", f"{folder}{yet}")


def check_metrics(settings: Settings) -> Iterator[Finding]:
    """The metrics file: in a folder that is there, with a name that a collector reads."""
    file = settings.metrics.textfile
    if file is None:
        yield passed("metrics.textfile", "no metrics file is configured (metrics.textfile)")
        return
    folder = file.parent
    if not folder.is_dir():
        remedy = "make it, or set metrics.textfile to the folder that node_exporter reads"
        yield failed("metrics.textfile", f"the folder {folder} does not exist", remedy)
    elif not can_write_in(folder):
        yield failed(
            "metrics.textfile",
            f"{current_user()} may not write in {folder} ({described(folder.stat())})",
            f"give {current_user()} a folder of its own, and node_exporter that folder to read",
        )
    elif file.exists() and not file.is_file():
        message = f"{file} is no regular file: it stays as it is, and no page is written"
        yield failed("metrics.textfile", message, "name another file; none at all is the default")
    elif why := _untrusted(file):
        remedy = f"give {current_user()} a folder of its own, and node_exporter that folder to read"
        yield failed("metrics.textfile", f"{why}; until then no page is written", remedy)
    elif file.suffix != ".prom":
        remedy = f"name it {file.with_suffix('.prom').name}"
        yield warning("metrics.textfile", f"{file}: node_exporter reads only *.prom", remedy)
    elif not file.exists():
        remedy = "it is written by the next run"
        yield warning("metrics.textfile", f"{file} does not exist yet", remedy)
    else:
        yield _readable(file)


def _untrusted(file: Path, *endings: str) -> str | None:
    """Why a run would not open that file of its own; ``None`` where it would."""
    try:
        check_own_file(file, *endings)
    except OSError as error:
        return error.strerror
    return None


def _readable(file: Path) -> Finding:
    mode = file.stat().st_mode
    with suppress(OSError):
        if not is_page(file):
            message = f"{file} is no page of metrics: it stays as it is, and none is written"
            return failed("metrics.textfile", message, "name another file")
    if not mode & 0o004:
        remedy = "something changed its mode: chmod 0644"
        return warning("metrics.textfile", f"{file} cannot be read by node_exporter", remedy)
    return passed("metrics.textfile", str(file))
