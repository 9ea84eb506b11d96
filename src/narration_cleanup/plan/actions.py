"""What can be done: one small value for each thing that a run would do, with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from types import UnionType
from typing import Generic, TypeVar

import msgspec

from narration_cleanup.core.model import Ref, RequestStatus, Scalar


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


class Outcome(StrEnum):
    """What became of one action. ``skipped``: planned, then found changed."""

    PLANNED = "planned"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class RemoveEntry(msgspec.Struct, frozen=True, array_like=True, tag="remove_entry", gc=False):
    """An entry goes, with its file and sidecars; ``created_at`` is what the planner read.

    ``size_bytes`` is what the survey stated, and 0 where its file is gone already or goes with
    another entry: what the removal can free.
    """

    key: str
    file: str
    size_bytes: int
    reason: Reason
    detail: str
    ref: Ref
    sidecars: tuple[str, ...] = ()
    voice_style: str = ""
    variant_id: str = ""
    created_at: float | None = None


class RemoveFile(msgspec.Struct, frozen=True, array_like=True, tag="remove_file", gc=False):
    """A file that belongs to no entry goes; ``created_at`` is the time that its age is from."""

    file: str
    size_bytes: int
    reason: Reason
    detail: str
    ref: Ref
    created_at: float | None = None


class DropEntry(msgspec.Struct, frozen=True, array_like=True, tag="drop_entry", gc=False):
    """An entry whose file is gone leaves the index; no file is touched."""

    key: str
    file: str
    reason: Reason
    detail: str
    ref: Ref
    voice_style: str = ""
    variant_id: str = ""
    created_at: float | None = None


class CancelRequest(msgspec.Struct, frozen=True, array_like=True, tag="cancel_request", gc=False):
    """A request is set to cancelled while it is still what ``guard`` says (see the model)."""

    id: str | int
    status: RequestStatus
    age_seconds: float
    reason: Reason
    detail: str
    guard: tuple[Scalar, ...]
    place: int | None = None
    created_at: float | None = None


class DeleteRequest(msgspec.Struct, frozen=True, array_like=True, tag="delete_request", gc=False):
    """A finished row is deleted while it is still what ``guard`` says."""

    id: str | int
    status: RequestStatus
    age_seconds: float
    reason: Reason
    detail: str
    guard: tuple[Scalar, ...]
    place: int | None = None
    created_at: float | None = None


CacheAction = RemoveEntry | RemoveFile | DropEntry
RequestAction = CancelRequest | DeleteRequest
Action = CacheAction | RequestAction


ActionT = TypeVar("ActionT", CacheAction, RequestAction)


class Actions(Generic[ActionT]):
    """Actions in the order they are to be done, held small: about 250 bytes for each.

    Each is kept as its MessagePack bytes and made anew when iterated, so that planning to remove
    a hundred thousand entries does not cost a hundred megabytes. One with a file name that is
    not UTF-8, or with a time of some other age of the world, is kept as it is.
    """

    def __init__(self, kind: type[ActionT] | UnionType) -> None:
        self._packed: list[bytes | ActionT] = []
        self._pack = msgspec.msgpack.Encoder().encode
        self._unpack: Callable[[bytes], ActionT] = msgspec.msgpack.Decoder(kind).decode

    def append(self, action: ActionT) -> None:
        """Add one at the end."""
        self._packed.append(self.packed(action))

    def append_packed(self, packed: bytes | ActionT) -> None:
        """Add one at the end that is in its small form already."""
        self._packed.append(packed)

    def packed(self, action: ActionT) -> bytes | ActionT:
        """The small form of one."""
        try:
            return self._pack(action)
        except (UnicodeEncodeError, OverflowError):
            return action

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[ActionT]:
        return map(self._action, self._packed)

    def __getitem__(self, position: int) -> ActionT:
        return self._action(self._packed[position])

    def __setitem__(self, position: int, action: ActionT) -> None:
        self._packed[position] = self.packed(action)

    def _action(self, packed: bytes | ActionT) -> ActionT:
        return self._unpack(packed) if isinstance(packed, bytes) else packed
