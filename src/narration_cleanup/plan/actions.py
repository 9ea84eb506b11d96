"""What a run would do: one small value for each thing, with its reason."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from narration_cleanup.core.model import Ref, Scalar


class Reason(StrEnum):
    """Why something goes; the same words in plan, output, metrics and history."""

    EXPIRED = "expired"
    EVICTED = "evicted"
    EMPTY = "empty"
    ORPHAN = "orphan"
    PARTIAL = "partial"
    DANGLING = "dangling"
    ABANDONED = "abandoned"
    FINISHED = "finished"


CACHE_REASONS = (
    Reason.EXPIRED,
    Reason.EVICTED,
    Reason.EMPTY,
    Reason.ORPHAN,
    Reason.PARTIAL,
    Reason.DANGLING,
)


class Kind(StrEnum):
    """What an action does. An entry that is dropped has no file; the others are as they say."""

    REMOVE_ENTRY = "remove_entry"
    REMOVE_FILE = "remove_file"
    DROP_ENTRY = "drop_entry"
    CANCEL_REQUEST = "cancel_request"
    DELETE_REQUEST = "delete_request"


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
    where the file is gone already or goes with another entry; ``ref`` is the store's handle. Of a
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
    age_seconds: float = 0.0
    guard: tuple[Scalar, ...] = ()
    place: int | None = None

    @property
    def kind(self) -> Kind:
        """What is done."""
        return _KINDS[self.reason]

    @property
    def is_of_entry(self) -> bool:
        """Whether an entry leaves the cache, with its file or without."""
        return self.kind in (Kind.REMOVE_ENTRY, Kind.DROP_ENTRY)

    @property
    def is_of_cache(self) -> bool:
        """Whether it is on an entry or a file, and not on a request."""
        return self.kind not in (Kind.CANCEL_REQUEST, Kind.DELETE_REQUEST)

    @property
    def frees_bytes(self) -> bool:
        """Whether files are removed, so that ``size_bytes`` has a meaning."""
        return self.kind in (Kind.REMOVE_ENTRY, Kind.REMOVE_FILE)


class Actions:
    """Actions in the order they are to be done, held small: about 250 bytes for each.

    Each is kept as its MessagePack bytes and made anew when iterated, so that planning to remove
    a hundred thousand entries does not cost a hundred megabytes. One with a file name that is
    not UTF-8, or with a time of some other age of the world, is kept as it is.
    """

    def __init__(self) -> None:
        self._packed: list[bytes | Action] = []
        self._pack = msgspec.msgpack.Encoder().encode
        self._unpack = msgspec.msgpack.Decoder(Action).decode

    def append(self, action: Action) -> None:
        """Add one at the end."""
        self._packed.append(self.packed(action))

    def append_packed(self, packed: bytes | Action) -> None:
        """Add one at the end that is in its small form already."""
        self._packed.append(packed)

    def packed(self, action: Action) -> bytes | Action:
        """The small form of one."""
        try:
            return self._pack(action)
        except (UnicodeEncodeError, OverflowError):
            return action

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[Action]:
        return map(self._action, self._packed)

    def __getitem__(self, position: int) -> Action:
        return self._action(self._packed[position])

    def __setitem__(self, position: int, action: Action) -> None:
        self._packed[position] = self.packed(action)

    def _action(self, packed: bytes | Action) -> Action:
        return self._unpack(packed) if isinstance(packed, bytes) else packed
