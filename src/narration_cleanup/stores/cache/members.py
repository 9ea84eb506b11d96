"""The members of an index: what is understood of each, and what makes one malformed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec

from narration_cleanup.core.model import CacheEntry, Problem, Target
from narration_cleanup.core.text import printable

LONGEST_KEY = 1 << 16
"""Keys are 64 hexadecimal digits; one of more than 64 KiB is malformed."""
LONGEST_NUMBER = 1_000
"""Digits; a whole number of more is malformed (Python does not read one of more than 4,300)."""

TWICE = "its key occurs twice"

LARGEST_FILE = 1 << 50
"""Bytes; what an entry states beyond that is no size, and sums of such are no numbers."""

Scan = Callable[[str, int], tuple[object, int]]
"""``scan(text, at)``: the JSON value that begins there, and its end."""


class IndexMember(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One member's value as the service writes it: exactly these seven fields (formats)."""

    narration_id: str
    file_path: str
    created_at: str
    last_accessed: str
    file_size: Annotated[int, msgspec.Meta(le=LARGEST_FILE)]
    variant_id: str
    voice_style: str


class MalformedEntry(msgspec.Struct, frozen=True, gc=False):
    """A member that is not understood, or not JSON to the letter: kept as it is. ``why`` is shown.

    ``file_path`` is its path if it has one, so that its file is not taken for an orphan.
    """

    why: str
    file_path: str | None


_decode = msgspec.json.Decoder(IndexMember).decode


def value_scanner(faults: list[str]) -> Scan:
    """A scanner that adds what it reads and JSON does not allow to ``faults``."""

    def note_constant(name: str) -> None:
        faults.append(f"{name} is not JSON")

    def number(digits: str) -> int | None:
        if len(digits) <= LONGEST_NUMBER:
            return int(digits)
        faults.append(f"a number of {len(digits)} digits")
        return None

    return json.JSONDecoder(parse_constant=note_constant, parse_int=number).raw_decode


def decoded_member(
    key: str, raw: bytes, scan: Scan, faults: list[str]
) -> IndexMember | MalformedEntry:
    """A member by its value's JSON; ``scan`` adds to ``faults``.

    Raises ``ValueError`` where that is not JSON, ``RecursionError`` where it is nested too deeply.
    """
    try:
        return _decode(raw)
    except ValueError:
        value, _ = scan(raw.decode(), 0)
    member = member_of(key, value, raw, faults)
    faults.clear()
    return member


def member_of(
    key: str, value: object, raw: bytes, faults: Sequence[str]
) -> IndexMember | MalformedEntry:
    """A member whose ``value`` was read from ``raw``, with these ``faults``."""
    if faults:
        return malformed(faults[0], value)
    if len(key) > LONGEST_KEY:
        return malformed(f"its key has {len(key)} characters", value)
    try:
        key.encode()
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return malformed("it holds a lone surrogate", value)
    return _understood(value)


def _understood(value: object) -> IndexMember | MalformedEntry:
    """A member that has not exactly the service's fields: all that it needs is a path and a time.

    A next version of the service may have more of them.
    """
    if not isinstance(value, dict):
        return MalformedEntry("it is not a JSON object", None)
    for needed in ("file_path", "created_at"):
        if not isinstance(value.get(needed), str):
            return malformed(f"its {needed} is missing or not text", value)
    size = value.get("file_size")
    if not isinstance(size, int | float) or not 0 <= size <= LARGEST_FILE:
        size = 0
    return IndexMember(
        narration_id=_text(value.get("narration_id")),
        file_path=value["file_path"],
        created_at=value["created_at"],
        last_accessed=_text(value.get("last_accessed")),
        file_size=int(size),
        variant_id=_text(value.get("variant_id")),
        voice_style=_text(value.get("voice_style")),
    )


def _text(value: object) -> str:
    """A field's value as text, for what matches it; empty where it is neither text nor number."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def malformed(why: str, value: object) -> MalformedEntry:
    """A member as malformed, with the path that its ``value``, JSON or understood, may have."""
    path: object = None
    if isinstance(value, dict):
        path = value.get("file_path")
    elif isinstance(value, IndexMember | MalformedEntry):
        path = value.file_path
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
    """The one problem of all members whose files are here by another name of the directory."""
    value = json.dumps(folder, ensure_ascii=False)
    return Problem(
        Target.CACHE,
        "dir_in_index",
        f"nearly all of the newest entries name the folder '{printable(folder)}', and their files "
        "are "
        f"in cache.dir: if it is the same folder, set cache.dir_in_index = [{printable(value)}] "
        f"(NARRATION_CACHE_DIR_IN_INDEX={printable(folder)}); until then {count} entries are kept",
    )


def entry_of(
    key: str, name: str, value: IndexMember, created_at: float | None, used_at: float | None
) -> CacheEntry:
    """A member that is understood, as the planner judges it."""
    size = max(value.file_size, 0)
    return CacheEntry(key, name, size, created_at, used_at, value.voice_style, value.variant_id)
