"""The codec of ``cache_index.json``: bytes to members and back. Pure; it opens nothing.

An index in any form of JSON is read in pieces, whatever its size. A piece begins where a member
does, and is cut at its last ``}`` that a comma follows: where it decodes as an object, the cut is
right, since neither a string nor a nested object that is cut does. Otherwise the candidate before
is tried, and at last the piece is scanned value by value. Bytes that are not one whole JSON object
are refused, never shortened; a member that is not understood, or not JSON to the letter, is kept
as it is and makes no other member wait.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from narration_cleanup.core.model import Ref
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.members import (
    LONGEST_KEY,
    TWICE,
    IndexMember,
    MalformedEntry,
    decoded_member,
    malformed,
    member_of,
    value_scanner,
)

CHUNK = 1 << 18
"""Bytes read at a time: what becomes of more does not fit a processor's cache, and takes longer."""
LONGEST_CHUNK = 1 << 24
"""An index in which no member ends within this many bytes is refused."""
_CUTS_TRIED = 3
"""Cuts of one piece that are tried before it is scanned."""
ByteRange = tuple[int, int] | Ref
"""(start, end, …) of a member, as its ``Ref`` has it."""
Read = Callable[[int, int], bytes]
"""``read(offset, size)``: up to ``size`` bytes of the index from ``offset``."""

_WHITESPACE = " \t\n\r"
_SPACE = _WHITESPACE.encode()
_find_ends = re.compile(rb"\}[ \t\n\r]*,").finditer
_match_comma = re.compile(rb"[ \t\n\r]*,").match
_match_name = re.compile(rb'[ \t\n\r]*"[^"\\]*(?:\\.[^"\\]*)*"[ \t\n\r]*:[ \t\n\r]*').match


class UnreadableIndexError(ValueError):
    """The bytes are not an index: empty, torn, or not understood. ``str()`` says which."""


class Members(msgspec.Struct, frozen=True, gc=False):
    """Some members in index order. ``starts`` has one more: where the next member would begin.

    The bytes from ``starts[i]`` to ``starts[i + 1]`` are member ``i`` with the white space before
    it and the comma after it; the last member of the index has no comma, and ends at its value.
    ``text`` holds those bytes; it begins at ``text_at`` in the index.
    """

    keys: Sequence[str]
    values: Sequence[IndexMember | MalformedEntry]
    starts: Sequence[int]
    text: bytes
    text_at: int

    def ref(self, position: int) -> Ref:
        """The handle of one member."""
        return self.starts[position], self.starts[position + 1], self.digest(position)

    def digest(self, position: int) -> bytes:
        """SHA-256 of a member's bytes, less the white space and the comma around it."""
        start, end = self.starts[position], self.starts[position + 1]
        member = self.text[start - self.text_at : end - self.text_at]
        return hashlib.sha256(member.strip(b" \t\r\n,")).digest()


_decode_chunk = msgspec.json.Decoder(dict[str, IndexMember]).decode
_decode_raw_chunk = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NOT_DECODED = (ValueError, RecursionError)  # msgspec's errors are ValueErrors


def members(read: Read, size: int) -> Iterator[Members]:
    """Every member of the index of ``size`` bytes, in order, in batches.

    Raises ``UnreadableIndexError`` - possibly after some batches: nothing may be done on the
    strength of a pass that did not end.
    """
    held, at, next_read = b"", 0, 0
    has_begun = has_members = False
    while next_read < size:
        # As much again as is held: what has to be scanned again takes linear time all the same.
        block = read(next_read, max(CHUNK, len(held)))
        if not block:
            raise UnreadableIndexError("it became shorter while it was read")
        held += block
        next_read += len(block)
        if not has_begun:
            held = held.lstrip(_SPACE)
            at = next_read - len(held) + 1
            if not held:
                continue
            _refuse_no_object(held)
            held, has_begun = held[1:], True
        if next_read >= size:
            break
        if batch := _cut(held, at):
            yield batch
            has_members = True
            held, at = held[batch.starts[-1] - at :], batch.starts[-1]
        elif len(held) > LONGEST_CHUNK:
            raise UnreadableIndexError(f"no entry ends within {LONGEST_CHUNK} bytes")
    if not has_begun:
        raise UnreadableIndexError("it is empty")
    body = held.rstrip(_SPACE)
    batch = _decoded(body[:-1].rstrip(_SPACE), at) if body.endswith(b"}") else None
    batch = batch or _scanned(held, at, is_last=True)
    if batch.keys:
        yield batch
    elif has_members:
        raise UnreadableIndexError("a name was expected behind its last comma")


def _refuse_no_object(held: bytes) -> None:
    if held.startswith(b"{"):
        return
    if held.startswith(b"\xef\xbb\xbf"):
        raise UnreadableIndexError("it begins with a byte order mark, which JSON does not allow")
    try:
        codecs.utf_8_decode(held)
    except UnicodeDecodeError as error:
        raise UnreadableIndexError(f"it is not UTF-8 (byte {error.start})") from None
    raise UnreadableIndexError("it is not a JSON object")


def _cut(held: bytes, at: int) -> Members | None:
    """The members of a piece that begins at ``at`` and has more behind it, as far as they are
    whole; ``None`` where none is."""
    brace = len(held)
    for _ in range(_CUTS_TRIED):
        brace = held.rfind(b"}", 0, brace)
        if brace < 0:
            break
        comma = _match_comma(held, brace + 1)
        if comma is None:
            continue
        if batch := _decoded(held[: brace + 1], at, comma.end()):
            return batch
    batch = _scanned(held, at, is_last=False)
    return batch if batch.keys else None


def _decoded(text: bytes, at: int, end: int | None = None) -> Members | None:
    """The members of ``text``, which begins at ``at`` in the index; ``None`` where it has to be
    scanned, or is cut at a wrong place.

    ``end``: where the next member would begin, in ``text``.
    """
    end = len(text) if end is None else end
    whole = b"{%b}" % text
    starts: list[int] | None
    try:
        decoded: Mapping[str, IndexMember | MalformedEntry] = _decode_chunk(whole)
        # Each member has one closing brace, and more only in its texts: with no more braces than
        # ends, each is an end; with no fewer keys, none stands twice.
        ends = [at + found.end() for found in _find_ends(text)]
        is_plain = len(decoded) == len(ends) + 1 == text.count(b"}")
        starts = [at, *ends, at + end] if is_plain else None
    except _NOT_DECODED:
        starts = None
    try:
        if starts is None:
            decoded, starts = _decoded_each(whole, text, at, at + end)
    except _NOT_DECODED:
        return None
    if starts is None or max(map(len, decoded), default=0) > LONGEST_KEY:
        return None
    return Members(list(decoded), list(decoded.values()), starts, text, at)


def _decoded_each(
    whole: bytes, text: bytes, at: int, end: int
) -> tuple[Mapping[str, IndexMember | MalformedEntry], list[int] | None]:
    """The same member by member, and where they start; raises ``ValueError`` where that fails."""
    faults: list[str] = []
    scan = value_scanner(faults)
    decoded = {}
    starts = [at]
    position = 0
    for key, raw in _decode_raw_chunk(whole).items():
        value = bytes(raw)
        name = _match_name(text, position)
        if name is None or text[name.end() : name.end() + len(value)] != value:
            return {}, None  # a key stands twice
        position = name.end() + len(value)
        decoded[key] = decoded_member(key, value, scan, faults)
        comma = _match_comma(text, position)
        position = comma.end() if comma else position
        starts.append(at + position)
    if position != len(text):
        return {}, None
    starts[-1] = end
    return decoded, starts


def _scanned(raw: bytes, at: int, *, is_last: bool) -> Members:
    """The members of a piece, value by value; of one that is not the last as far as a comma
    follows them. ``at`` is where ``raw`` lies in the index."""
    try:
        text, _ = codecs.utf_8_decode(raw, "strict", is_last)
    except UnicodeDecodeError as error:
        raise UnreadableIndexError(f"it is not UTF-8 (byte {at + error.start})") from None
    found = _Scan([], [], [0])
    try:
        _scan(text, found, is_last=is_last)
    except RecursionError:
        raise UnreadableIndexError("it is nested too deeply") from None
    except (ValueError, IndexError) as error:
        if is_last:
            if isinstance(error, UnreadableIndexError):
                raise
            is_torn = isinstance(error, IndexError)
            reason = "it ends in the middle" if is_torn else str(error).partition("\n")[0]
            raise UnreadableIndexError(f"it is not whole JSON ({reason})") from None
    keys, values, starts = found
    if len(set(keys)) < len(keys):
        count = Counter(keys)
        values = [
            value if count[key] == 1 else malformed(TWICE, value)
            for key, value in zip(keys, values, strict=True)
        ]
    return Members(keys, values, _byte_offsets(text, starts, at), raw, at)


class _Scan(NamedTuple):
    """Keys, values, and the members' starts (see ``Members``) as character offsets."""

    keys: list[str]
    values: list[IndexMember | MalformedEntry]
    starts: list[int]


def _scan(text: str, found: _Scan, *, is_last: bool) -> None:
    """Add the members of ``text``, each once the comma or the brace behind it is seen.

    Raises ``ValueError`` or ``IndexError`` where the index does not end with ``text``.
    """
    faults: list[str] = []
    scan_value = value_scanner(faults)
    at = _skip(text, 0)
    while found.keys or text[at] != "}":
        if text[at] != '"':
            raise UnreadableIndexError(f"a name was expected at character {at} of its last part")
        name, at = scan_value(text, at)
        key = str(name)
        at = _skip(text, at)
        if text[at] != ":":
            raise UnreadableIndexError(f"a colon was expected behind '{printable(key, most=80)}'")
        start = _skip(text, at + 1)
        value, end = scan_value(text, start)
        at = _skip(text, end)
        if text[at] not in (",}" if is_last else ","):
            raise UnreadableIndexError(f"a comma was expected behind '{printable(key, most=80)}'")
        found.keys.append(key)
        found.values.append(member_of(key, value, text[start:end].encode(), faults))
        faults.clear()
        if text[at] == "}":
            found.starts.append(end)
            break
        found.starts.append(at + 1)
        at = _skip(text, at + 1)
    if _skip(text, at + 1) != len(text):
        raise UnreadableIndexError("something follows its end")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITESPACE:
        at += 1
    return at


def _byte_offsets(text: str, positions: list[int], offset: int) -> list[int]:
    """Ascending character positions of ``text`` as byte offsets in the index."""
    if text.isascii():
        return [offset + position for position in positions]
    offsets = []
    before, at = 0, offset
    for position in positions:
        at += len(text[before:position].encode())
        before = position
        offsets.append(at)
    return offsets


def without(read: Read, size: int, spans: Sequence[ByteRange], end: int) -> Iterator[bytes]:
    """The index's bytes less the members at ``spans``: all else as it was, byte for byte.

    ``spans`` ascend; ``end`` is where the last member of the index ends. Where the last members
    go, the comma before them goes with them. All of the index is read once and in order, what is
    left out too: so the reader knows which bytes the result was made of.
    """
    kept_to = end
    if spans and spans[-1][1] == end:
        kept_to = _start_of_last_run(spans)
        if _block(read, kept_to - 1, 1) == b",":
            kept_to -= 1
        else:
            while end < size and _block(read, end, 1).isspace():
                end += 1
    yield from _copied(read, size, chain(_between(spans, kept_to), [(end, size)]))


def _start_of_last_run(spans: Sequence[ByteRange]) -> int:
    """Where the unbroken row of members begins that the last span ends."""
    at = len(spans) - 1
    while at and spans[at - 1][1] >= spans[at][0]:
        at -= 1
    return spans[at][0]


def _between(spans: Iterable[ByteRange], end: int) -> Iterator[tuple[int, int]]:
    """What lies before, between and after ``spans``, up to ``end``; empty stretches left out."""
    at = 0
    for start, stop, *_ in spans:
        if start > at:
            yield at, min(start, end)
        at = stop
    if end > at:
        yield at, end


def _copied(read: Read, size: int, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of ascending ranges, in one piece for each block of all ``size`` bytes."""
    waiting = iter(ranges)
    start, end = next(waiting, (size, size))
    at = 0
    while at < size:
        block = _block(read, at, min(CHUNK, size - at))
        block_end = at + len(block)
        pieces = []
        while start < block_end:
            pieces.append(block[max(start - at, 0) : end - at])
            if end > block_end:
                break
            start, end = next(waiting, (size, size))
        yield b"".join(pieces)
        at = block_end


def _block(read: Read, start: int, size: int) -> bytes:
    block = read(start, size)
    if not block:
        raise UnreadableIndexError("it became shorter while it was copied")
    return block
