"""Read the settings: flags over variables over credentials over the TOML file over defaults.

Every source is read in full, also where a higher one wins: a wrong value is a fault wherever
it is, and all faults are reported at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from types import MappingProxyType

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.text import printable
from narration_cleanup.core.timestamps import is_known_tz
from narration_cleanup.core.users import user_name
from narration_cleanup.settings.parsers import InvalidValueError
from narration_cleanup.settings.setting import PREFIX, Setting
from narration_cleanup.settings.show import raw_shown
from narration_cleanup.settings.sources import (
    FILE_VARIABLE,
    NO_STATE_DIR,
    SYSTEM_FILE,
    expand,
    find_file,
    read_file,
    read_toml,
    state_of_units,
)
from narration_cleanup.settings.types import (
    BY_NAME,
    BY_VARIABLE,
    DEFAULT,
    SETTINGS,
    TABLES,
    Origin,
    Settings,
    build,
)

NONE, AUTO = "none", "auto"
_SECTIONS = tuple(table for table in TABLES if "." not in table)
_OWN_PREFIXES = tuple(f"{PREFIX}{section.upper()}_" for section in _SECTIONS)


@dataclass(slots=True, eq=False, repr=False)
class _Reading:
    """What has been read so far; a later source overrides an earlier one."""

    environ: Mapping[str, str]
    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    file: Path | None = None
    wrong: set[str] = field(default_factory=set)

    def take(self, setting: Setting, raw: object, origin: Origin, *, as_text: bool) -> None:
        """Parse one value and keep it, or note the fault."""
        try:
            value = self._parse(setting, raw, origin, as_text)
        except (ValueError, TypeError, OverflowError, OSError) as error:
            is_named = origin.source in ("flag", "variable", "credential")
            where = str(origin) if is_named else f"{origin}: {setting.name}"
            expected = setting.kind.expected + (', or "none"' if setting.optional else "")
            if isinstance(error, InvalidValueError) and str(error) not in expected:
                expected += f": {printable(str(error))}"
            self.wrong.add(setting.name)
            if isinstance(error, FileNotFoundError):
                expected = "an absolute path: the current directory, where it would start, is gone"
            self.faults.append(
                f"{printable(where)} is {raw_shown(setting, raw)}, expected {expected}"
            )
            return
        is_other = setting.kind.is_path and value is not None and raw not in (AUTO, str(value))
        if origin.source == "file" and is_other and not os.path.isabs(str(raw)):
            origin = replace(origin, written=str(raw))  # another elsewhere, or for others
        self.values[setting.name] = value
        self.origins[setting.name] = origin

    def _parse(self, setting: Setting, raw: object, origin: Origin, as_text: bool) -> object:
        if raw == NONE and setting.optional:
            return None
        if raw == AUTO and setting.compute is not None:
            return setting.compute(self.environ)[0]
        if isinstance(raw, PurePath):  # of a program
            raw = str(raw)
        if isinstance(raw, str):
            if setting.kind.is_path:
                # A variable is read as the service reads it, which knows no "~".
                raw = raw if origin.source == "variable" else expand(raw, self.environ)
            elif as_text:
                raw = setting.kind.from_text(raw)
        return setting.kind.parse(raw)


def load_settings(
    *,
    flags: Mapping[str, object | None],
    config_file: Path | None,
    environ: Mapping[str, str],
) -> Settings:
    """The settings from all sources.

    `flags` is keyed by dotted name; `None` is a flag that was not given. `config_file` is what
    `--config` named. Raises one `ConfigError` that carries every fault, a line each.
    """
    reading = _read(flags, config_file, environ)
    if reading.faults:
        raise ConfigError(*reading.faults)
    return _built(reading)


def load_from_tables(tables: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """The settings in `tables` as TOML has them, and no others; `environ` gives the folders.

    Raises `ConfigError` as `load_settings` does.
    """
    reading = _Reading(environ)
    _take_table(reading, tables, "", Origin("argument"))
    _take_defaults(reading)
    reading.faults += _contradictions(reading)
    if reading.faults:
        raise ConfigError(*reading.faults)
    return _built(reading)


def load_partial(
    *,
    flags: Mapping[str, object | None],
    config_file: Path | None,
    environ: Mapping[str, str],
) -> tuple[Settings, tuple[str, ...], bool]:
    """The settings without those that are wrong, and the faults, so that an alert can report them.

    With them, whether `cleanup.state_dir` is what was meant: not where it is wrong itself, where
    the file that may name it cannot be read, or where none can be found, as in the sandbox of a
    unit that only notifies.
    """
    reading = _read(flags, config_file, environ)
    name = "cleanup.state_dir"
    state_known = name not in reading.wrong and reading.values[name] != NO_STATE_DIR
    return _built(reading), tuple(reading.faults), state_known


def _read(
    flags: Mapping[str, object | None], config_file: Path | None, environ: Mapping[str, str]
) -> _Reading:
    reading = _Reading(environ)
    reading.file = _take_file(reading, config_file)
    if reading.faults and reading.file is None:
        reading.wrong.update(BY_NAME)
    _take_credentials(reading)
    _take_variables(reading)
    for name, given in flags.items():
        setting = BY_NAME[name]
        if given is not None:
            flag = setting.flag or "--" + setting.key.replace("_", "-")
            raw = str(given) if isinstance(given, Path) else given
            reading.take(setting, raw, Origin("flag", flag), as_text=True)
    _take_defaults(reading)
    reading.faults += _contradictions(reading)
    return reading


def _built(reading: _Reading) -> Settings:
    return build(
        Settings,
        "",
        reading.values,
        origins=MappingProxyType(dict(reading.origins)),
        warnings=tuple(reading.warnings),
        config_file=reading.file,
    )


def require_target(settings: Settings, *, by_flag: bool = False) -> None:
    """Raise `ConfigError` unless a cache or a request database is configured.

    `by_flag`: the command has flags for both, and so they are named.
    """
    if settings.cache.dir is not None or settings.requests.db is not None:
        return
    cache, requests = (
        f"{entry.name} ({entry.flag}, {entry.env})" if by_flag else f"{entry.name} ({entry.env})"
        for entry in (BY_NAME["cache.dir"], BY_NAME["requests.db"])
    )
    raise ConfigError(f"Nothing configured: set {cache} or {requests}, or both")


def history_elsewhere(settings: Settings) -> str | None:
    """That this user's history is not the one of the timed runs, which he may not read."""
    file, folder = settings.config_file, settings.cleanup.state_dir
    of_units = state_of_units(file)
    is_systems = file is not None and file.parent == SYSTEM_FILE.parent
    is_default = settings.origin("cleanup.state_dir").source == "default"
    is_other = of_units != folder != NO_STATE_DIR
    if not is_systems or not is_default or not is_other or not os.path.isdir(of_units):
        return None
    owner = user_name(of_units.stat().st_uid)
    return (
        f"the history of the timed runs is in {of_units}, for {owner} and root (sudo -u {owner}); "
        f"{printable(folder)} has only the runs by hand of this user"
    )


def _take_file(reading: _Reading, config_file: Path | None) -> Path | None:
    try:
        file = find_file(config_file, reading.environ)
        found = read_toml(file) if file is not None else {}
    except ConfigError as error:
        reading.faults += error.faults
        return None
    if file is not None:
        _take_table(reading, found, "", Origin("file", str(file)))
    return file


def _take_table(
    reading: _Reading, table: Mapping[str, object], prefix: str, origin: Origin
) -> None:
    for key, raw in table.items():
        name = f"{prefix}{key}"
        if name in BY_NAME:
            reading.take(BY_NAME[name], raw, origin, as_text=False)
        elif name not in TABLES:
            what, known = ("section", TABLES) if isinstance(raw, Mapping) else ("setting", ())
            near = _nearest(name, [*BY_NAME, *known])
            reading.faults.append(printable(f"{origin}: unknown {what} {name}") + near)
        elif isinstance(raw, Mapping):
            _take_table(reading, raw, f"{name}.", origin)
        else:
            reading.faults.append(
                printable(f"{origin}: {name} is a value, expected a table [{name}]")
            )


def _take_credentials(reading: _Reading) -> None:
    folder = reading.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return
    try:
        present = sorted(os.listdir(folder))
    except OSError as error:
        reading.faults.append(printable(f"$CREDENTIALS_DIRECTORY {folder}: {error.strerror}"))
        return
    for file in present:
        setting = BY_NAME.get(file) or BY_VARIABLE.get(file)
        origin = Origin("credential", file)
        if setting is not None:
            try:
                text = read_file(Path(folder, file)).decode().strip()
            except OSError as error:
                reading.faults.append(printable(f"{origin}: {error.strerror}"))
            except UnicodeDecodeError:
                reading.faults.append(printable(f"{origin} is not UTF-8 text"))
            else:
                if text:
                    reading.take(setting, text, origin, as_text=True)
        elif file.startswith((*(f"{section}." for section in _SECTIONS), *_OWN_PREFIXES)):
            known = [*BY_NAME, *BY_VARIABLE]
            reading.warnings.append(printable(f"{origin} is not a setting") + _nearest(file, known))


def _take_variables(reading: _Reading) -> None:
    if not is_known_tz(tz := reading.environ.get("TZ", "")):
        reading.warnings.append(
            f"variable TZ is {printable(tz)!r}, which names no time zone here: local time is UTC"
        )
    for variable in sorted(name for name in reading.environ if name.startswith(_OWN_PREFIXES)):
        raw = reading.environ[variable]
        setting = BY_VARIABLE.get(variable)
        if setting is None:
            if variable != FILE_VARIABLE:
                reading.warnings.append(
                    printable(f"variable {variable} is not a setting")
                    + _nearest(variable, [*BY_VARIABLE, FILE_VARIABLE])
                )
        elif raw.strip():
            raw = raw if setting.kind.is_path else raw.strip()
            reading.take(setting, raw, Origin("variable", variable), as_text=True)


def _take_defaults(reading: _Reading) -> None:
    for setting in SETTINGS:
        if setting.name in reading.values:
            continue
        if setting.compute is None:
            reading.values[setting.name] = setting.default
            continue
        file = {} if reading.file is None else {FILE_VARIABLE: str(reading.file)}
        reading.values[setting.name], where = setting.compute({**reading.environ, **file})
        if where != "default":
            reading.origins[setting.name] = Origin("default", f"({where})")


def _contradictions(reading: _Reading) -> list[str]:
    """Values that are right on their own, and wrong with another."""
    return [
        *_columns_twice(reading),
        *_index_as_audio(reading),
        *_statuses_twice(reading),
    ]


def _where(reading: _Reading, name: str) -> str:
    return printable(f"{reading.origins.get(name, DEFAULT)}: {name}")


def _columns_twice(reading: _Reading) -> Iterator[str]:
    """A run would write into a column that means something else."""
    columns = [entry.name for entry in SETTINGS if entry.section == "requests.columns"]
    identity, status, completed_at, error, created_at = (
        f"requests.columns.{key}" for key in ("id", "status", "completed_at", "error", "created_at")
    )
    pairs = [(key, other) for key in (identity, status) for other in columns if other != key]
    pairs += [(error, other) for other in columns if other not in (identity, status, error)]
    updated_at, scheduled_at = "requests.columns.updated_at", "requests.columns.scheduled_at"
    pairs += [(completed_at, each) for each in (created_at, scheduled_at, updated_at)]
    pairs += [(updated_at, each) for each in (created_at, scheduled_at)]
    on_postgres = str(reading.values.get("requests.db")).startswith(("postgres:", "postgresql:"))
    for key, other in pairs:
        names = [reading.values[name] for name in (key, other)]
        if not on_postgres:  # SQLite takes STATUS for status
            names = [name.lower() if isinstance(name, str) else None for name in names]
        if names[0] is not None and names[0] == names[1]:
            yield f"{_where(reading, other)} names the same column as {key}"


def _index_as_audio(reading: _Reading) -> Iterator[str]:
    index, suffixes = reading.values.get("cache.index"), reading.values.get("cache.audio_suffixes")
    if isinstance(index, str) and isinstance(suffixes, tuple):
        for suffix in suffixes:
            if index.endswith(suffix) or f"{index}.lock".endswith(suffix):
                yield (
                    f"{_where(reading, 'cache.audio_suffixes')} holds {printable(suffix)}, with "
                    "which "
                    f"the index ends ({printable(index)}): it would be taken for audio"
                )


def _statuses_twice(reading: _Reading) -> Iterator[str]:
    meaning: dict[object, str] = {}
    for entry in SETTINGS:
        values = reading.values.get(entry.name)
        if entry.section == "requests.statuses" and isinstance(values, tuple):
            for value in values:
                first = meaning.setdefault(value, entry.name)
                if first != entry.name:
                    where = _where(reading, entry.name)
                    yield f"{where} holds {printable(str(value))}, which {first} holds too"
    active = ("requests.statuses.queued", "requests.statuses.generating")
    if not any(reading.values[name] for name in active):
        where = _where(reading, active[0])
        yield f"{where} and {active[1]} are both empty, expected one status"


def _nearest(name: str, known: list[str]) -> str:
    """`, did you mean …?`, or nothing where no known name is near.

    First among its neighbours, where the part in common must not count; then the same last part
    in another section; then whole names.
    """
    import difflib

    section, _, key = name.rpartition(".")
    keys = {each.rpartition(".")[2]: each for each in known if each.rpartition(".")[0] == section}
    near = [keys[each] for each in difflib.get_close_matches(key, keys, n=1)]
    near = near or [each for each in known if each.rpartition(".")[2] == key]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    return f", did you mean {near[0]}?" if near else ""
