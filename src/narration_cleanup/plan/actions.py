"""What a run would do: one small value for each thing, with its reason."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from enum import Enum, StrEnum
from typing import NamedTuple

import msgspec

from narration_cleanup.core.model import Ref, Scalar


class Words(NamedTuple):
    """The words for what an action does and what it is done to, the same in every output."""

    verb: str
    done: str
    noun: str
    plural: str


class Kind(Enum):
    """What an action does. An entry that is dropped has no file; the others are as named."""

    REMOVE_ENTRY = Words("remove", "Removed", "entry", "entries")
    REMOVE_FILE = Words("remove", "Removed", "file", "files")
    DROP_ENTRY = Words("drop", "Dropped", "entry", "entries")
    CANCEL_REQUEST = Words("cancel", "Cancelled", "request", "requests")
    DELETE_REQUEST = Words("delete", "Deleted", "request", "requests")

    @property
    def is_of_entry(self) -> bool:
        """Whether an entry leaves the cache, with its file or without."""
        return self in (Kind.REMOVE_ENTRY, Kind.DROP_ENTRY)

    @property
    def is_of_cache(self) -> bool:
        """Whether it is done to an entry or a file, and not to a request."""
        return self not in (Kind.CANCEL_REQUEST, Kind.DELETE_REQUEST)

    @property
    def frees_bytes(self) -> bool:
        """Whether files are removed, so that the size of an action has a meaning."""
        return self in (Kind.REMOVE_ENTRY, Kind.REMOVE_FILE)


class Reason(StrEnum):
    """Why something is done; the same words in plan, output, metrics and history."""

    EXPIRED = "expired"
    EVICTED = "evicted"
    EMPTY = "empty"
    ORPHAN = "orphan"
    PARTIAL = "partial"
    DANGLING = "dangling"
    ABANDONED = "abandoned"
    FINISHED = "finished"

    @property
    def kind(self) -> Kind:
        """What is done for this reason."""
        return _KINDS[self]


_KINDS = {
    Reason.EXPIRED: Kind.REMOVE_ENTRY,
    Reason.EVICTED: Kind.REMOVE_ENTRY,
    Reason.EMPTY: Kind.REMOVE_ENTRY,
    Reason.ORPHAN: Kind.REMOVE_FILE,
    Reason.PARTIAL: Kind.REMOVE_FILE,
    Reason.DANGLING: Kind.DROP_ENTRY,
    Reason.ABANDONED: Kind.CANCEL_REQUEST,
    Reason.FINISHED: Kind.DELETE_REQUEST,
}
FILE_GONE = "its file is gone"
"""Ends the detail of an entry that has no file when it is planned."""
FILE_WAS_GONE = "its file was already gone"
"""The note on a removal that found no file."""
CACHE_REASONS = tuple(reason for reason in Reason if reason.kind.is_of_cache)


class Outcome(StrEnum):
    """What became of one action. ``skipped``: planned, then found changed."""

    PLANNED = "planned"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class Action(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One thing that a run would do, with its reason and the figures behind it for a reader.

    ``id`` is the entry's key, the name of a file without an entry, or the request's id.
    ``created_at`` (an instant) is what the planner read; of a file, the time its age is from.

    Of the cache alone: ``size_bytes`` is what the removal can free, as the survey stated it, and 0
    where the file is gone or is removed with another entry; ``ref`` is the store's handle;
    ``lacks_file``: this takes an entry out of the index whose file is gone already. Of a
    request alone: it is changed while it is still what ``guard`` says (see the model), and
    ``age_seconds`` is the age that its limit is for.
    """

    reason: Reason
    id: str | int
    detail: str
    file: str = ""
    size_bytes: int = 0
    ref: Ref = (0, 0, 0)
    sidecars: tuple[str, ...] = ()
    voice_style: str = ""
    variant_id: str = ""
    created_at: float | None = None
    status: str = ""
    age_seconds: float = 0
    guard: tuple[Scalar, ...] = ()
    place: int | None = None
    lacks_file: bool = False

    @property
    def kind(self) -> Kind:
        """What is done."""
        return _KINDS[self.reason]


class Actions:
    """Actions in the order they are to be done, held small: about 250 bytes for each.

    Each is kept as its MessagePack bytes and made anew when iterated, so that planning to remove
    a hundred thousand entries does not cost a hundred megabytes. One with a file name that is
    not UTF-8, or with a time of some other age of the world, is kept as it is.
    """

    def __init__(self) -> None:
        self._all = bytearray()
        self._ends = array("Q")  # of each in ``_all``
        self._others: dict[int, bytes | Action] = {}  # by position: changed since, or never packed
        self._pack_into = msgspec.msgpack.Encoder().encode_into
        self._buffer = bytearray()
        self._unpack = msgspec.msgpack.Decoder(Action).decode

    def append(self, action: Action) -> None:
        """Add one at the end."""
        self.append_packed(self.packed(action))

    def append_packed(self, packed: bytes | Action) -> None:
        """Add one at the end that is in its small form already."""
        if isinstance(packed, bytes):
            self._all += packed
        else:
            self._others[len(self)] = packed
        self._ends.append(len(self._all))

    def packed(self, action: Action) -> bytes | Action:
        """The small form of one."""
        try:
            self._pack_into(action, self._buffer)
            return bytes(self._buffer)  # no larger than needed, as what `encode` returns is
        except (UnicodeEncodeError, OverflowError):
            return action

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[Action]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, position: int) -> Action:
        start = self._ends[position - 1] if position else 0
        packed = self._others.get(position) or self._all[start : self._ends[position]]
        return packed if isinstance(packed, Action) else self._unpack(packed)

    def __setitem__(self, position: int, action: Action) -> None:
        self._others[position] = self.packed(action)
