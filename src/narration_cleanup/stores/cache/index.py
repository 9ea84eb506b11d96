"""The codec of ``cache_index.json``: bytes to members and back. Pure; it opens nothing.

An index in any form of JSON is read in pieces, whatever its size. A piece begins where a member
does, and is cut at its last ``}`` that a comma follows: where it decodes as an object, the cut is
right, since neither a string nor a nested object that is cut does. Otherwise, and where one of its
members is not as the service writes it, the piece is scanned member by member. Bytes that are not
one whole JSON object are refused, never shortened; a member that is not understood, or not JSON to
the letter, is kept as it is and makes no other member wait.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from narration_cleanup.core.model import Ref
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.members import (
    LONGEST_KEY,
    OWN_FORM,
    TWICE,
    IndexForm,
    IndexMember,
    MalformedEntry,
    MemberReader,
    malformed,
)

CHUNK = 1 << 18
"""Bytes read at a time: what becomes of more does not fit a processor's cache, and takes longer."""
LONGEST_CHUNK = 1 << 24
"""An index in which no member ends within this many bytes is refused."""
SHORTER = "it became shorter while it was read"
Read = Callable[[int, int], bytes]
"""``read(offset, size)``: up to ``size`` bytes of the index from ``offset``."""

_WHITESPACE = " \t\n\r"
_SPACE = _WHITESPACE.encode()
_find_ends = re.compile(rb"\}[ \t\n\r]*,").finditer
_match_comma = re.compile(rb"[ \t\n\r]*,").match
_match_name = re.compile(rb'[ \t\n\r]*"[^"\\]*(?:\\.[^"\\]*)*"[ \t\n\r]*:[ \t\n\r]*').match


class UnreadableIndexError(ValueError):
    """The bytes are not an index: empty, torn, or not understood. ``str()`` says which."""


class OtherFormError(UnreadableIndexError):
    """They are whole, and in a form that is not the one that is set."""


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
        """BLAKE2 of a member's bytes, less the white space and the comma around it: 16 bytes, since
        those of all that goes are held."""
        start, end = self.starts[position], self.starts[position + 1]
        member = self.text[start - self.text_at : end - self.text_at]
        return hashlib.blake2b(member.strip(b" \t\r\n,"), digest_size=16).digest()


_decode_chunk = msgspec.json.Decoder(dict[str, IndexMember]).decode
_decode_raw_chunk = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NOT_DECODED = (ValueError, RecursionError)  # msgspec's errors are ValueErrors


def members(read: Read, size: int, form: IndexForm = OWN_FORM) -> Iterator[Members]:
    """Every member of the index of ``size`` bytes, in order, in batches.

    Where the entries lie one level down, the whole index is held in memory. Raises
    ``UnreadableIndexError`` - possibly after some batches: nothing may be done on the strength of a
    pass that did not end.
    """
    reader = MemberReader(form)
    if form.member is None:
        yield from _members(read, size, reader)
        return
    whole = b""
    while len(whole) < size:
        block = read(len(whole), size - len(whole))
        if not block:
            raise UnreadableIndexError(SHORTER)
        whole += block
    start, end = _inner(whole, form.member)
    inner = whole[start:end]
    for batch in _members(lambda at, length: inner[at : at + length], len(inner), reader):
        starts = [start + each for each in batch.starts]
        yield Members(batch.keys, batch.values, starts, batch.text, start + batch.text_at)


def _inner(whole: bytes, wanted: str) -> tuple[int, int]:
    """Where the object lies that is the member ``wanted`` of the index."""
    held = whole.lstrip(_SPACE)
    if not held:
        raise UnreadableIndexError("it is empty")
    _refuse_no_object(held)
    try:
        whole.decode()
        outer = _decode_raw_chunk(whole)
    except _NOT_DECODED as error:
        raise UnreadableIndexError(f"it is not whole JSON ({error})") from None
    found = None
    position = len(whole) - len(held) + 1
    for key, raw in outer.items():
        name, value = _match_name(whole, position), bytes(raw)
        if name is None or whole[name.end() : name.end() + len(value)] != value:
            break
        position = name.end() + len(value)
        if key == wanted and value.startswith(b"{"):
            found = name.end(), position
        comma = _match_comma(whole, position)
        position = comma.end() if comma else position
    if whole[position:].strip(_SPACE) != b"}":
        raise UnreadableIndexError("a name occurs twice at its top")
    if found is None:
        raise OtherFormError(
            f"it has no member '{printable(wanted, most=80)}' that is an object "
            "(cache.index_member)"
        )
    return found


def _members(read: Read, size: int, reader: MemberReader) -> Iterator[Members]:
    held, at, next_read = b"", 0, 0
    has_begun = has_members = False
    while next_read < size:
        # As much again as is held: what has to be scanned again takes linear time all the same.
        block = read(next_read, max(CHUNK, len(held)))
        if not block:
            raise UnreadableIndexError(SHORTER)
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
        if batch := _cut(held, at, reader):
            yield batch
            has_members = True
            held, at = held[batch.starts[-1] - at :], batch.starts[-1]
        elif len(held) > LONGEST_CHUNK:
            raise OtherFormError(f"no entry ends within {LONGEST_CHUNK} bytes")
    if not has_begun:
        raise UnreadableIndexError("it is empty")
    body = held.rstrip(_SPACE)
    batch = _decoded(body[:-1].rstrip(_SPACE), at, reader) if body.endswith(b"}") else None
    batch = batch or _scanned(held, at, reader, is_last=True)
    if batch.keys:
        yield batch
    elif has_members:
        raise UnreadableIndexError("a name was expected behind its last comma")


def _refuse_no_object(held: bytes) -> None:
    if held.startswith(b"{"):
        return
    if held.startswith(codecs.BOM_UTF8):
        raise OtherFormError(
            "it begins with a byte order mark, which JSON does not allow: save it as UTF-8 without "
            "one, if the service does not write it"
        )
    try:
        codecs.utf_8_decode(held)
    except UnicodeDecodeError as error:
        raise UnreadableIndexError(f"it is not UTF-8 (byte {error.start})") from None
    if held.startswith(b"["):
        raise OtherFormError("it is a JSON list, and entries are known by their keys in an object")
    raise UnreadableIndexError("it is not a JSON object")


def _cut(held: bytes, at: int, reader: MemberReader) -> Members | None:
    """The members of a piece that begins at ``at`` and has more behind it, as far as they are
    whole; ``None`` where none is."""
    brace = held.rfind(b"}")
    while brace >= 0:
        if comma := _match_comma(held, brace + 1):
            if batch := _decoded(held[: brace + 1], at, reader, comma.end()):
                return batch
            break
        brace = held.rfind(b"}", 0, brace)
    batch = _scanned(held, at, reader, is_last=False)
    return batch if batch.keys else None


def _decoded(text: bytes, at: int, reader: MemberReader, end: int | None = None) -> Members | None:
    """The members of ``text``, which begins at ``at`` in the index; ``None`` where it has to be
    scanned.

    ``end``: where the next member would begin, in ``text``.
    """
    if not reader.is_own:
        return None
    try:
        decoded = _decode_chunk(b"{%b}" % text)
    except _NOT_DECODED:
        return None
    # Each member has one closing brace, and more only in its texts: with no more braces than ends,
    # each is an end; with no fewer keys, none is there twice.
    ends = [at + found.end() for found in _find_ends(text)]
    is_plain = len(decoded) == len(ends) + 1 == text.count(b"}")
    if not is_plain or max(map(len, decoded)) > LONGEST_KEY:
        return None
    starts = [at, *ends, at + (len(text) if end is None else end)]
    return Members(list(decoded), list(decoded.values()), starts, text, at)


def _scanned(raw: bytes, at: int, reader: MemberReader, *, is_last: bool) -> Members:
    """The members of a piece, value by value; of one that is not the last as far as a comma
    follows them. ``at`` is where ``raw`` lies in the index."""
    try:
        text, _ = codecs.utf_8_decode(raw, "strict", is_last)
    except UnicodeDecodeError as error:
        raise UnreadableIndexError(f"it is not UTF-8 (byte {at + error.start})") from None
    found = _Scan([], [], [0])
    try:
        _scan(text, found, reader, is_last=is_last)
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
            value if count[key] == 1 else malformed(TWICE, value.file_path)
            for key, value in zip(keys, values, strict=True)
        ]
    return Members(keys, values, _byte_offsets(text, starts, at), raw, at)


class _Scan(NamedTuple):
    """Keys, values, and the members' starts (see ``Members``) as character offsets."""

    keys: list[str]
    values: list[IndexMember | MalformedEntry]
    starts: list[int]


def _scan(text: str, found: _Scan, reader: MemberReader, *, is_last: bool) -> None:
    """Add the members of ``text``, each once the comma or the brace behind it is seen.

    Raises ``ValueError`` or ``IndexError`` where the index does not end with ``text``.
    """
    scan_value = reader.scan
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
        end = text.find("}", start) + 1 if text[start] == "{" else start
        member: IndexMember | MalformedEntry | None = reader.decoded(key, text[start:end])
        if member is None:
            value, end = scan_value(text, start)
            member = reader.member_of(key, value, text[start:end].encode())
        at = _skip(text, end)
        if text[at] not in (",}" if is_last else ","):
            raise UnreadableIndexError(f"a comma was expected behind '{printable(key, most=80)}'")
        found.keys.append(key)
        found.values.append(member)
        if text[at] == "}":
            found.starts.append(end)
            break
        found.starts.append(at + 1)
        at = _skip(text, at + 1)
    after = _skip(text, at + 1)
    if text[after : after + 1] == "{" and "\n" in text[at:after]:
        raise OtherFormError(
            "it holds one JSON object a line (JSON Lines), and entries are known by their keys in "
            "one object"
        )
    if after != len(text):
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
