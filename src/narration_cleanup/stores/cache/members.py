"""The members of an index: what is understood of each, and what makes one malformed.

Another program's index has other names for the fields, or its entries one level down: ``IndexForm``
says so, and what is understood of a member is the same.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Annotated, NamedTuple

import msgspec

from narration_cleanup.core.model import Problem, Target
from narration_cleanup.core.text import printable
from narration_cleanup.core.timestamps import from_number, iso

KEY = "@key"
"""As a field's name: the member's own key."""
LONGEST_KEY = 1 << 16
"""Keys are 64 hexadecimal digits; one of more than 64 KiB is malformed."""
LONGEST_NUMBER = 1_000
"""Digits; a whole number of more is malformed (Python does not read one of more than 4,300)."""

TWICE = "its key occurs twice"

LARGEST_FILE = 1 << 50
"""Bytes; what an entry states beyond that is no size, and sums of such are no numbers."""

Scan = Callable[[str, int], tuple[object, int]]
"""``scan(text, at)``: the JSON value that begins there, and its end."""

_DIGITS = re.compile(r"[0-9]{9,19}(?:\.[0-9]{1,9})?", re.ASCII)
_COMPACT = re.compile(r"(20[0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})", re.ASCII)
"""A clock's reading without separators. As milliseconds it would lie beyond the year 2600."""


class IndexForm(NamedTuple):
    """The name in the index of each field that is needed, ``None`` where it has no such field.

    ``member``: the one that holds the entries; ``None`` where the index itself does.
    """

    file_path: str = "file_path"
    created_at: str = "created_at"
    last_accessed: str | None = "last_accessed"
    file_size: str | None = "file_size"
    variant_id: str | None = "variant_id"
    voice_style: str | None = "voice_style"
    member: str | None = None


OWN_FORM = IndexForm()
"""The narration service's."""


class IndexMember(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One member's value as the service writes it: exactly these seven fields (formats)."""

    narration_id: str
    file_path: str
    created_at: str
    last_accessed: str
    file_size: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_FILE)]
    variant_id: str
    voice_style: str


class MalformedEntry(msgspec.Struct, frozen=True, gc=False):
    """A member that is not understood, or not JSON to the letter: kept as it is. ``why`` is shown.

    ``file_path`` is its path if it has one, so that its file is not taken for an orphan.
    """

    why: str
    file_path: str | None


_decode = msgspec.json.Decoder(IndexMember).decode


class MemberReader:
    """Reads the members of an index in one form; ``is_own``: its fields have our own names."""

    def __init__(self, form: IndexForm) -> None:
        self._form = form
        self.is_own = form._replace(member=None) == OWN_FORM
        self._faults: list[str] = []
        self.scan = _value_scanner(self._faults)

    def decoded(self, key: str, text: str) -> IndexMember | None:
        """A member by its value's JSON, where that is as the service writes it."""
        if not self.is_own or _not_text(key, None, b""):
            return None
        try:
            return _decode(text)
        except ValueError:
            return None

    def member_of(self, key: str, value: object, raw: bytes) -> IndexMember | MalformedEntry:
        """A member whose ``value`` was the last that ``scan`` read, from ``raw``."""
        faults = self._faults[:1]
        self._faults.clear()
        why = faults[0] if faults else _not_text(key, value, raw)
        if why is None and not isinstance(value, dict):
            why = "it is not a JSON object"
        fields = value if isinstance(value, dict) else {}
        path, created_at = (
            self._field(key, fields, name) for name in (self._form.file_path, self._form.created_at)
        )
        if why is None and not isinstance(path, str):
            why = f"its {printable(self._form.file_path)} is missing or not text"
        if why is None and not _text(created_at):
            why = f"its {printable(self._form.created_at)} is missing, or neither text nor number"
        return malformed(why, path) if why else self._understood(key, fields)

    def _understood(self, key: str, fields: Mapping[str, object]) -> IndexMember:
        """All that a member needs is a path and a time: a next version may have other fields."""
        form = self._form
        size = self._field(key, fields, form.file_size)
        if not isinstance(size, int | float) or not 0 <= size <= LARGEST_FILE:
            size = 0
        return IndexMember(
            narration_id=_text(fields.get("narration_id")),
            file_path=_text(self._field(key, fields, form.file_path)),
            created_at=time_text(_text(self._field(key, fields, form.created_at))),
            last_accessed=time_text(_text(self._field(key, fields, form.last_accessed))),
            file_size=int(size),
            variant_id=_text(self._field(key, fields, form.variant_id)),
            voice_style=_text(self._field(key, fields, form.voice_style)),
        )

    @staticmethod
    def _field(key: str, fields: Mapping[str, object], name: str | None) -> object:
        return key if name == KEY else None if name is None else fields.get(name)


def _value_scanner(faults: list[str]) -> Scan:
    """A scanner that adds what it reads and JSON does not allow to ``faults``."""

    def note_constant(name: str) -> None:
        faults.append(f"{name} is not JSON")

    def number(digits: str) -> int | None:
        if len(digits) <= LONGEST_NUMBER:
            return int(digits)
        faults.append(f"a number of {len(digits)} digits")
        return None

    return json.JSONDecoder(parse_constant=note_constant, parse_int=number).raw_decode


def _not_text(key: str, value: object, raw: bytes) -> str | None:
    """What a key or a value holds that is no text, or too much of it."""
    if len(key) > LONGEST_KEY:
        return f"its key has {len(key)} characters"
    try:
        key.encode()
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "it holds a lone surrogate"
    return None


def time_text(text: str) -> str:
    """A time in digits as an ISO text: Unix time in any unit, or ``YYYYMMDDhhmmss``; any other text
    as it is."""
    if not _DIGITS.fullmatch(text):
        return text
    if clock := _COMPACT.fullmatch(text):
        return "{}-{}-{}T{}:{}:{}".format(*clock.groups())
    instant = from_number(float(text))
    return text if instant is None else iso(instant)


def _text(value: object) -> str:
    """A field's value as text; empty where it is neither text nor number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.7e18 as digits
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def malformed(why: str, path: object) -> MalformedEntry:
    """A member as malformed, with the path that it may have."""
    try:
        return MalformedEntry(why, path if isinstance(path, str) and os.fsencode(path) else None)
    except UnicodeEncodeError:
        return MalformedEntry(why, None)


def unjudged(key: str, value: IndexMember | MalformedEntry, *, is_determined: bool) -> Problem:
    """The problem of a member that is kept since it cannot be judged."""
    if isinstance(value, MalformedEntry):
        code, why = "malformed_entry", f"kept as it is: {printable(value.why)}"
    else:
        path = printable(value.file_path)
        code = "outside_cache"
        why = f"kept: its file_path '{path}' is no audio file inside the cache directory"
    if not is_determined:
        why += "; while its file is unknown, no audio counts as an orphan"
    return Problem(Target.CACHE, code, why, key[:LONGEST_KEY])


def unreadable_time(key: str, value: IndexMember) -> Problem:
    """The problem of a member whose time cannot be read: it never expires."""
    why = f"its created_at '{printable(value.created_at)}' is no time, so it does not expire"
    return Problem(Target.CACHE, "unreadable_time", why, key)


def other_name(folder: str, count: int) -> Problem:
    """The problem of entries in a folder that is this one by another name."""
    value = json.dumps(folder, ensure_ascii=False)
    return Problem(
        Target.CACHE,
        "dir_in_index",
        f"nearly all of the newest entries name the folder '{printable(folder)}', and their files "
        "are "
        f"in cache.dir: if it is the same folder, set cache.dir_in_index = [{printable(value)}] "
        f"(NARRATION_CACHE_DIR_IN_INDEX={printable(folder)}); until then they are kept ({count})",
    )
