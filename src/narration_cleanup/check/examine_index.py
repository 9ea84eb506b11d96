"""Examines a file: whether it is an index of audio, and by which names its entries are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.text import printable
from narration_cleanup.core.timestamps import reader
from narration_cleanup.settings import BY_NAME
from narration_cleanup.stores.cache.members import KEY, time_text
from narration_cleanup.stores.cache.paths import with_slashes

MOST_INDEX = 256 * 2**20
INDEX_NAME = re.compile("index|cache")
_SETTLED_WITHIN = 2.0
_SAMPLE = 1_000
_NAMES: Mapping[str, Sequence[str]] = {
    "created_at": ("created_at", "created", "generated_at", "timestamp", "time", "date", KEY),
    "last_accessed": ("last_accessed", "last_used", "last_access", "accessed_at", "used_at"),
    "file_size": ("file_size", "size_bytes", "size", "bytes"),
    "variant_id": ("variant_id",),
    "voice_style": ("voice_style", "voice", "voice_id", "speaker", "speaker_name_or_path"),
}
"""The names that the fields have in such indexes, the likeliest first. A path is known by what it
is."""

_Entries = Mapping[str, Mapping[str, object]]
_read_time = reader("UTC")


@dataclass(slots=True)
class OtherIndex:
    """The paths of an index, and the settings by which its entries are read: none for our own."""

    paths: list[str]
    settings: dict[str, object] = field(default_factory=dict)
    sure: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)


def read_index(file: Path, audio: Sequence[PurePath]) -> OtherIndex | None:
    """How the entries of an index are read; ``None`` for any other file. ``audio``: what it lists.

    Empty or torn, it may be being written: it is read again for two seconds. Raises
    ``ConfigError`` where it remains so.
    """
    names = {path.name for path in audio}
    for member, entries in _places(_document(file)):
        if found := _form(entries, names, member):
            return found
    return None


def _document(file: Path) -> object:
    deadline = Deadline(_SETTLED_WITHIN)
    while True:
        try:
            return json.loads(file.read_bytes()) if file.stat().st_size <= MOST_INDEX else None
        except (ValueError, OSError, RecursionError) as error:
            is_lines = isinstance(error, json.JSONDecodeError) and error.msg == "Extra data"
            if not INDEX_NAME.search(file.name) or is_lines:
                return None
            if isinstance(error, PermissionError):
                raise ConfigError(f"{printable(file)} cannot be read: {error.strerror}") from None
            if deadline.passed:
                raise ConfigError(
                    f"{printable(file)} cannot be read as JSON ({printable(str(error))}): it is "
                    "being written, or damaged; try again"
                ) from None
            deadline.pause(0.05)


def _places(document: object) -> Iterator[tuple[str | None, _Entries]]:
    """Where entries may lie: in the index itself, or one level down. Those that are objects."""
    if not isinstance(document, dict):
        return
    nested = [(name, value) for name, value in document.items() if isinstance(value, dict)]
    nested.sort(key=lambda each: -len(each[1]))
    for member, held in ((None, document), *nested):
        entries = {key: value for key, value in held.items() if isinstance(value, dict)}
        if 2 * len(entries) > len(held):
            yield member, entries


def _form(entries: _Entries, audio: set[str], member: str | None) -> OtherIndex | None:
    path = _path_field(entries, audio)
    if path is None:
        return None
    named = {key: entry for key, entry in entries.items() if _text_in(key, entry, path)}
    times = [name for name in _NAMES["created_at"] if _are_times(named, name)]
    if not times:
        return None
    found = OtherIndex([_text_in(key, entry, path) for key, entry in named.items()])
    names, sample = {"file_path": path, "created_at": times[0]}, list(named.items())[:_SAMPLE]
    for role, usual in _NAMES.items():
        there = (name for name in usual if any(name in entry for _, entry in sample))
        names.setdefault(role, next(there, "none"))
    is_own = (path, times[0]) == ("file_path", "created_at")
    for role, name in names.items():
        setting = f"cache.fields.{role}"
        if name != BY_NAME[setting].default and not (is_own and name == "none"):
            found.settings[setting] = name
    if member is not None:
        found.settings["cache.index_member"] = member
        found.sure.append(f"the entries are in its member {printable(member)}")
    if found.settings and not is_own:
        found.sure.append(f"the path of an entry is in {printable(path)}")
        when = "its key" if times[0] == KEY else printable(times[0])
        line = f"an entry was generated at the time in {when}"
        (found.sure if times[0].startswith(("created", "generated")) else found.unsure).append(line)
    return found


def _path_field(entries: _Entries, audio: set[str]) -> str | None:
    """The field that names audio: our own, or the one whose values name most of what is there."""
    sample = list(entries.items())[:_SAMPLE]
    if 2 * sum(isinstance(entry.get("file_path"), str) for _, entry in sample) > len(sample):
        return "file_path"
    names = dict.fromkeys(name for _, entry in sample for name in (*entry, KEY))

    def named(name: str) -> int:
        paths = (with_slashes(_text_in(key, entry, name)) for key, entry in sample)
        return sum(path.rpartition("/")[2] in audio for path in paths)

    best = max(names, key=named, default=None)
    return best if best is not None and 2 * named(best) > len(sample) else None


def _value(key: str, entry: Mapping[str, object], name: str) -> object:
    return key if name == KEY else entry.get(name)


def _text_in(key: str, entry: Mapping[str, object], name: str) -> str:
    value = _value(key, entry, name)
    return value if isinstance(value, str) else ""


def _are_times(entries: _Entries, name: str) -> bool:
    """Whether nearly all entries have a time there."""
    sample = list(entries.items())[:_SAMPLE]
    values = [_value(key, entry, name) for key, entry in sample]
    times = [v for v in values if not isinstance(v, bool) and _read_time(time_text(str(v)))]
    return 10 * len(times) >= 9 * max(len(sample), 1)
