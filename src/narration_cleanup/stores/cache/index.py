"""The codec of ``cache_index.json``: bytes to members and back. Pure; it opens nothing.

The service writes the index with ``indent=2``. A JSON string holds no raw newline, so a line of
exactly two spaces, a closing brace and a comma ends a top-level member: such an index is read in
chunks, whatever its size. An index written in any other form is read whole; both ways give the
same members. Bytes that are not one whole JSON object are refused, never shortened; a member that
is not understood, or not JSON to the letter, is kept as it is and makes no other member wait.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from narration_cleanup.core.model import Ref
from narration_cleanup.stores.cache.members import (
    LONGEST_KEY,
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
"""No member's end within this many bytes: not the service's form."""
ByteRange = tuple[int, int] | Ref
"""(start, end, …) of a member, as its ``Ref`` has it."""
Read = Callable[[int, int], bytes]
"""``read(offset, size)``: up to ``size`` bytes of the index from ``offset``."""

_MEMBER_END = b"\n  },"
_find_ends = re.compile(re.escape(_MEMBER_END)).finditer
_WHITESPACE = " \t\n\r"


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
    if size > LONGEST_CHUNK and not read(size - 4096, 4096).rstrip().endswith(b"}"):
        # Torn: no need to hold all of it to find out.
        raise UnreadableIndexError("it ends in the middle")
    done_to = 0
    if read(0, 5) == b'{\n  "':
        try:
            for batch in _members_in_chunks(read, size):
                yield batch
                done_to = batch.starts[-1]
        except UnreadableIndexError:
            # Another form, or damaged: the whole of it will tell.
            yield from _members_of_whole(read, size, done_to)
    else:
        yield from _members_of_whole(read, size, done_to)


def _members_in_chunks(read: Read, size: int) -> Iterator[Members]:
    held, held_at, next_read = b"", 1, 0
    while next_read < size:
        block = read(next_read, CHUNK)
        if not block:
            raise UnreadableIndexError("it became shorter while it was read")
        held = held + block if next_read else block[1:]
        next_read += len(block)
        cut = held.rfind(_MEMBER_END + b"\n")
        if cut >= 0:
            after = cut + len(_MEMBER_END)
            yield _chunk(held[: after - 1], held_at, held_at + after)
            held, held_at = held[after:], held_at + after
        elif len(held) > LONGEST_CHUNK:
            raise UnreadableIndexError(f"no entry ends within {LONGEST_CHUNK} bytes")
    body = held.rstrip(b" \t\n\r")
    if not body.endswith(b"\n}"):
        raise UnreadableIndexError("it ends in the middle")
    if held_at > 1 and not body[:-2].strip():
        raise UnreadableIndexError("a comma stands behind its last entry")
    yield _chunk(body[:-2], held_at, held_at + len(body) - 2)


def _chunk(text: bytes, at: int, end: int) -> Members:
    """The members of a stretch of the service's form that begins at ``at`` in the index.

    Each member has one closing brace, and more only in its texts: with no more braces than ends,
    each ends in the service's form; with no fewer keys, none stands twice. Else it is scanned.
    """
    ends = [at + found.end() for found in _find_ends(text)]
    decoded = _decoded(b"{%b}" % text)
    is_plain = len(decoded) == len(ends) + 1 == text.count(b"}")
    if not is_plain or max(map(len, decoded)) > LONGEST_KEY:
        scanned = _scanned(b"{%b}" % text, at - 1)
        starts = [at, *scanned.starts[1:-1], end]
        return Members(scanned.keys, scanned.values, starts, text, at)
    return Members(list(decoded), list(decoded.values()), [at, *ends, end], text, at)


def _decoded(text: bytes) -> Mapping[str, IndexMember | MalformedEntry]:
    """The members of ``text`` by key; none where it has to be scanned."""
    try:
        return _decode_chunk(text)
    except _NOT_DECODED:
        pass
    faults: list[str] = []
    scan = value_scanner(faults)
    try:
        return {
            key: decoded_member(key, bytes(raw), scan, faults)
            for key, raw in _decode_raw_chunk(text).items()
        }
    except _NOT_DECODED:
        return {}


def _members_of_whole(read: Read, size: int, after: int = 0) -> Iterator[Members]:
    """The members that begin at or behind ``after``."""
    text = b"".join(_copied(read, size, [(0, size)]))
    batch = _scanned(text, 0)
    first = bisect_left(batch.starts, after, hi=len(batch.keys))
    if first < len(batch.keys):
        starts = [after or batch.starts[first], *batch.starts[first + 1 :]]
        yield Members(batch.keys[first:], batch.values[first:], starts, text, 0)


def _scanned(raw: bytes, offset: int) -> Members:
    """The members of any JSON object; ``offset`` is where ``raw`` lies in the index."""
    if not raw.strip():
        raise UnreadableIndexError("it is empty")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableIndexError(f"it is not UTF-8 (byte {error.start})") from None
    try:
        keys, values, spans = _scan(text)
    except UnreadableIndexError:
        raise
    except RecursionError:
        raise UnreadableIndexError("it is nested too deeply") from None
    except (ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0] or "it ends in the middle"
        raise UnreadableIndexError(f"it is not whole JSON ({reason})") from None
    return Members(keys, values, _byte_offsets(text, spans, offset), raw, offset)


def _scan(text: str) -> tuple[list[str], list[IndexMember | MalformedEntry], list[int]]:
    """Keys, values, and the members' starts (see ``Members``) as character offsets."""
    keys: list[str] = []
    values: list[IndexMember | MalformedEntry] = []
    faults: list[str] = []
    scan_value = value_scanner(faults)
    at = _skip(text, 0)
    if text.startswith("\ufeff"):
        raise UnreadableIndexError("it begins with a byte order mark, which JSON does not allow")
    if text[at] != "{":
        raise UnreadableIndexError("it is not a JSON object")
    starts = [at + 1]
    at = _skip(text, at + 1)
    while text[at] != "}":
        if text[at] != '"':
            raise UnreadableIndexError(f"a name was expected at character {at}")
        name, at = scan_value(text, at)
        key = str(name)
        at = _skip(text, at)
        if text[at] != ":":
            raise UnreadableIndexError(f"a colon was expected at character {at}")
        start = _skip(text, at + 1)
        value, end = scan_value(text, start)
        keys.append(key)
        values.append(member_of(key, value, text[start:end].encode(), faults))
        faults.clear()
        at = _skip(text, end)
        starts.append(end)
        if text[at] == ",":
            starts[-1] = at + 1
            at = _skip(text, at + 1)
            if text[at] == "}":
                raise UnreadableIndexError(f"a name was expected at character {at}")
        elif text[at] != "}":
            raise UnreadableIndexError(f"a comma was expected at character {at}")
    if _skip(text, at + 1) != len(text):
        raise UnreadableIndexError(f"something follows its end at character {at + 1}")
    if len(set(keys)) < len(keys):
        count = Counter(keys)
        values = [
            value if count[key] == 1 else malformed("its key occurs twice", value)
            for key, value in zip(keys, values, strict=True)
        ]
    return keys, values, starts


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
