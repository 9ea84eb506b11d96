"""Writes an index without some of its members: all else as it was, byte for byte. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from narration_cleanup.core.model import Ref
from narration_cleanup.stores.cache.index import CHUNK, SHORTER, Read, UnreadableIndexError

ByteRange = tuple[int, int] | Ref
"""(start, end, …) of a member, as its ``Ref`` has it."""


def without(read: Read, size: int, spans: Sequence[ByteRange], end: int) -> Iterator[bytes]:
    """The index's bytes less the members at ``spans``: all else as it was, byte for byte.

    ``spans`` ascend; ``end`` is where the last member of the index ends. Where the last members
    are left out, so is the comma before them. The whole index is read once and in order, with
    what is left out: so the reader knows which bytes the result was made of.
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
        raise UnreadableIndexError(SHORTER)
    return block
