"""The codec of ``cache_index.json``: bytes to members and back. Pure; it opens nothing.

The service writes the index with ``indent=2``. A JSON string holds no raw newline, so a line of
exactly two spaces, a closing brace and a comma ends a top-level member: such an index is read in
chunks, whatever its size. An index written in any other form is read whole; both ways give the
same members. Every part that cannot be a member makes the whole index refused, never shortened.
"""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated, NoReturn

import msgspec

from narration_cleanup.model import Ref

CHUNK = 1 << 18
"""Bytes read at a time: what becomes of more does not fit a processor's cache, and takes longer."""
LONGEST_CHUNK = 1 << 24
"""No member's end within this many bytes: not the service's form."""
LONGEST_KEY = 1 << 16
"""Keys are 64 hexadecimal digits; one of more than 64 KiB means that the index is damaged."""

LARGEST_FILE = 1 << 50
"""Bytes; an entry that claims more for its audio is damaged, and sums of such are no numbers."""

Span = tuple[int, int] | Ref
"""(start, end, …) of a member, as its ``Ref`` has it."""
Read = Callable[[int, int], bytes]
"""``read(offset, size)``: up to ``size`` bytes of the index from ``offset``."""

_MEMBER_END = b"\n  },"
_find_ends = re.compile(re.escape(_MEMBER_END)).finditer
_WHITESPACE = " \t\n\r"


class UnreadableIndexError(ValueError):
    """The bytes are not an index: empty, torn, or not understood. ``str()`` says which."""


class IndexMember(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One member's value as the service writes it: exactly these seven fields (formats)."""

    narration_id: str
    file_path: str
    created_at: str
    last_accessed: str
    file_size: Annotated[int, msgspec.Meta(le=LARGEST_FILE)]
    variant_id: str
    voice_style: str


class Odd(msgspec.Struct, frozen=True, gc=False):
    """A member that is not of the service's form; it is kept as it is, and ``why`` is told.

    ``file_path`` is its path if it has one, so that its file is not taken for an orphan.
    """

    why: str
    file_path: str | None


class Members(msgspec.Struct, frozen=True, gc=False):
    """Some members in index order. ``starts`` has one more: where the next member would begin.

    The bytes from ``starts[i]`` to ``starts[i + 1]`` are member ``i`` with the white space before
    it and the comma after it; the last member of the index has no comma, and ends at its value.
    ``text`` holds those bytes; it begins at ``text_at`` in the index.
    """

    keys: Sequence[str]
    values: Sequence[IndexMember | Odd]
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
    try:
        decoded = _decode_chunk(b"{%b}" % text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = {}
    is_plain = len(decoded) == len(ends) + 1 == text.count(b"}")
    if not is_plain or max(map(len, decoded)) > LONGEST_KEY:
        odd = _scanned(b"{%b}" % text, at - 1)
        return Members(odd.keys, odd.values, [at, *odd.starts[1:-1], end], text, at)
    return Members(list(decoded), list(decoded.values()), [at, *ends, end], text, at)


def _members_of_whole(read: Read, size: int, after: int = 0) -> Iterator[Members]:
    """The members that begin at or behind ``after``."""
    text = b"".join(_copied(read, size, [(0, size)]))
    batch = _scanned(text, 0)
    first = bisect_left(batch.starts, after, hi=len(batch.keys))
    if first < len(batch.keys):
        starts = [after or batch.starts[first], *batch.starts[first + 1 :]]
        yield Members(batch.keys[first:], batch.values[first:], starts, text, 0)


def _reject_constant(name: str) -> NoReturn:
    raise UnreadableIndexError(f"{name} is not JSON")


_scanner = json.JSONDecoder(parse_constant=_reject_constant)
_scan_value = _scanner.raw_decode


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


def _scan(text: str) -> tuple[list[str], list[IndexMember | Odd], list[int]]:
    """Keys, values, and the members' starts (see ``Members``) as character offsets."""
    keys: list[str] = []
    values: list[IndexMember | Odd] = []
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
        key, at = _scan_value(text, at)
        at = _skip(text, at)
        if text[at] != ":":
            raise UnreadableIndexError(f"a colon was expected at character {at}")
        value, end = _scan_value(text, _skip(text, at + 1))
        _check_text(key, value)
        keys.append(key)
        values.append(_typed(value))
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
    return keys, values, starts


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _WHITESPACE:
        at += 1
    return at


def _check_text(key: str, value: object) -> None:
    if len(key) > LONGEST_KEY:
        raise UnreadableIndexError(f"a key of {len(key)} characters stands in it")
    try:
        msgspec.json.encode((key, value))
    except (UnicodeEncodeError, ValueError, OverflowError, msgspec.MsgspecError):
        raise UnreadableIndexError("it holds a lone surrogate or a number without end") from None


def _typed(value: object) -> IndexMember | Odd:
    try:
        return msgspec.convert(value, IndexMember)
    except msgspec.ValidationError as error:
        path = value.get("file_path") if isinstance(value, dict) else None
        return Odd(str(error), path if isinstance(path, str) else None)


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


def without(read: Read, size: int, spans: Sequence[Span], end: int) -> Iterator[bytes]:
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


def _start_of_last_run(spans: Sequence[Span]) -> int:
    """Where the unbroken row of members begins that the last span ends."""
    at = len(spans) - 1
    while at and spans[at - 1][1] >= spans[at][0]:
        at -= 1
    return spans[at][0]


def _between(spans: Iterable[Span], end: int) -> Iterator[tuple[int, int]]:
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
