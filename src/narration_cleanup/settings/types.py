"""The whole of the settings: the table of all of them, and the value that the tool runs with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from narration_cleanup.settings.definitions import (
    AlertsSettings,
    CacheSettings,
    CleanupSettings,
    HistorySettings,
    MetricsSettings,
    RequestSettings,
)
from narration_cleanup.settings.setting import METADATA, Setting

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: `source` is one of flag, variable, credential, file, default.

    `written` is a file's path as written there, where what it means depends on the current
    directory or on the user.
    """

    source: str
    name: str = ""
    written: str | None = None

    def __str__(self) -> str:
        return f"{self.source} {self.name}".rstrip()


DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting's value, where each came from, and the warnings about the sources."""

    cache: CacheSettings = field(default_factory=CacheSettings)
    requests: RequestSettings = field(default_factory=RequestSettings)
    cleanup: CleanupSettings = field(default_factory=CleanupSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    alerts: AlertsSettings = field(default_factory=AlertsSettings)
    origins: Mapping[str, Origin] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()
    config_file: Path | None = None

    def origin(self, name: str) -> Origin:
        """Where the value of the setting `name` (`cache.ttl_days`) came from."""
        return self.origins.get(name, DEFAULT)

    def value(self, name: str) -> object:
        """The value of the setting `name` (`cache.ttl_days`)."""
        found: object = self
        for part in name.split("."):
            found = getattr(found, part)
        return found


def build(cls: Callable[..., T], prefix: str, values: Mapping[str, object], **more: object) -> T:
    """An instance of a settings class with ``values``, by dotted name, which are parsed already.

    Nested classes are found by the names' next part, after ``prefix``.
    """
    inner: dict[str, dict[str, object]] = {}
    plain: dict[str, object] = dict(more)
    for name, value in values.items():
        head, _, rest = name.partition(".")
        if rest:
            inner.setdefault(head, {})[rest] = value
        else:
            plain[head] = value
    for head, below in inner.items():
        plain[head] = build(_TABLES[prefix + head], f"{prefix}{head}.", below)
    return cls(**plain)


_TABLES: dict[str, type[object]] = {}


def _walk(cls: type[object], prefix: str) -> Iterator[Setting]:
    for each in fields(cls):  # type: ignore[arg-type]
        entry = each.metadata.get(METADATA)
        if isinstance(entry, Setting):
            yield replace(entry, name=prefix + each.name)
        elif each.default_factory is not MISSING and isinstance(each.default_factory, type):
            _TABLES[prefix + each.name] = each.default_factory
            yield from _walk(each.default_factory, f"{prefix}{each.name}.")


SETTINGS: tuple[Setting, ...] = tuple(_walk(Settings, ""))
BY_NAME: Mapping[str, Setting] = MappingProxyType({entry.name: entry for entry in SETTINGS})
BY_VARIABLE: Mapping[str, Setting] = MappingProxyType({entry.env: entry for entry in SETTINGS})
TABLES: tuple[str, ...] = tuple(_TABLES)
SECTION_HELP: Mapping[str, str] = MappingProxyType(
    {name: (table.__doc__ or "").partition("\n")[0] for name, table in _TABLES.items()}
)
