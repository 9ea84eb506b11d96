"""What exists: entries, files, requests, and the problems met while looking at them.

Instants are Unix seconds (UTC) as ``float`` everywhere inside the program: comparing a million
of them must be cheap, and a float holds microseconds until long after 2100. Sizes are bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import Protocol

import msgspec

Mark = int | bytes
"""Identifies one version of a thing: its mtime in ns, or a digest of its bytes."""
Ref = tuple[int, int, Mark]
"""A store's own handle on what it surveyed, to check later whether it has changed.

In an index: (start, end, digest) of the member, offsets in bytes. Of a file: (inode, size,
mtime in ns). Valid within one process, and meaningful to the store that gave it alone.
"""


def is_most(part: int, whole: int) -> bool:
    """Whether ``part`` of ``whole`` things is most of them: more than half and more than ten."""
    return part > 10 and 2 * part > whole


class Severity(StrEnum):
    """``problem`` makes a run partly done; ``warning`` is only reported."""

    PROBLEM = "problem"
    WARNING = "warning"


class Target(StrEnum):
    """The two targets of a run, and what belongs to neither."""

    CACHE = "cache"
    REQUESTS = "requests"
    PROGRAM = "program"


class Problem(msgspec.Struct, frozen=True):
    """Something that needs the operator: which target, a stable code, the subject, and one line.

    ``repeats``: how many this one represents, with the code of those before it.
    ``known``: of one item that an earlier run reported, and that no run can clean.
    """

    target: Target = msgspec.field(name="half")  # its name in documents and in the history
    code: str
    message: str
    subject: str | None = None
    severity: Severity = Severity.PROBLEM
    repeats: int = 0
    known: bool = False


MOST_OF_A_KIND = 100
"""Problems of one code that are shown whole; more are one line with their number."""
MOST_KEPT = 4_000  # each is known again in a later run; more are taken for known where all are
SAME_REASON = "for the same reason"
_LONGEST = 1_000  # a longer subject names no file, and is kept of those alone that are shown
_Kind = tuple[Target, str, Severity, bool]
_kind: Callable[[Problem], _Kind] = attrgetter("target", "code", "severity", "known")


class Problems:
    """Problems in the order met; of each code the first 100 whole, the rest as one line."""

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        self._kept: list[Problem] = []
        self._seen: Counter[_Kind] = Counter()
        self._reasons: dict[_Kind, str | None] = {}  # the message, where it is the same in all
        self.extend(problems)

    def add(self, problem: Problem) -> None:
        """Take note of one."""
        kind = _kind(problem)
        self._seen[kind] += 1
        if self._reasons.setdefault(kind, problem.message) != problem.message:
            self._reasons[kind] = None
        most = MOST_OF_A_KIND if len(problem.subject or "") > _LONGEST else MOST_KEPT
        if self._seen[kind] <= most:
            self._kept.append(problem)

    def extend(
        self, problems: Iterable[Problem], change: Callable[[Problem], Problem] | None = None
    ) -> None:
        """Take note of several, each as ``change`` makes it, and of those only counted so far."""
        only_counted: Counter[_Kind] = Counter()
        if isinstance(problems, Problems):
            only_counted = problems._seen - Counter(map(_kind, problems._kept))
            for kind in only_counted:
                if self._reasons.setdefault(kind, reason := problems._reasons[kind]) != reason:
                    self._reasons[kind] = None
            problems = problems._kept
        for problem in problems:
            self.add(problem if change is None else change(problem))
        for kind, more in only_counted.items():  # where all of a code became the same, so do these
            same = [each for each in self._seen if each[:2] == kind[:2]]
            self._seen[same[0] if len(same) == 1 else kind] += more

    def count(self, codes: Collection[str]) -> int:
        """How many have one of these codes, with those that are only counted."""
        return sum(number for (_, code, *_), number in self._seen.items() if code in codes)

    def __iter__(self) -> Iterator[Problem]:
        shown: Counter[_Kind] = Counter()
        for problem in self._kept:
            kind = _kind(problem)
            shown[kind] += 1
            if shown[kind] <= MOST_OF_A_KIND:
                yield problem
        for kind, number in self._seen.items():
            why = "of the same kind" if self._reasons[kind] is None else SAME_REASON
            if more := number - min(shown[kind], MOST_OF_A_KIND):
                yield Problem(*kind[:2], f"and {more} more {why}", None, kind[2], more, kind[3])

    def __len__(self) -> int:
        return self._seen.total()


class CacheEntry(msgspec.Struct, frozen=True, gc=False):
    """One narration in the cache.

    ``file`` is a name inside the cache (a relative path without ``..`` where subfolders are
    allowed); ``size_bytes`` is what the index or the listing states; ``created_at`` and
    ``last_used_at`` are instants, ``last_used_at`` being ``None`` unless it was asked for.
    ``sidecars`` are the files that go with the audio (caches without an index); with
    ``shares_sidecars`` there is other audio of that name, and they go with the last of it.
    """

    key: str
    file: str
    size_bytes: int
    created_at: float | None
    last_used_at: float | None
    voice_style: str
    variant_id: str
    sidecars: tuple[str, ...] = ()
    shares_sidecars: bool = False


class EntryBatch(Protocol):
    """Some entries in index order.

    ``whole`` gives one with its sidecars, and the store's handle on it, only when it is needed.
    ``more_bytes`` are those of sidecars, of these entries or others, that are in no entry's size.
    ``unjudged`` counts what is kept since it is not understood: no entry, but one in the totals.
    """

    @property
    def entries(self) -> Sequence[CacheEntry]: ...

    @property
    def unjudged(self) -> int: ...

    @property
    def more_bytes(self) -> int: ...

    def whole(self, position: int) -> tuple[CacheEntry, Ref]: ...


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A file as found: name inside the cache, size, mtime and ctime (instants), the handle on it.

    ``arrived_at`` is the ctime, which a copy that keeps the mtime does not keep. ``by_ctime``: its
    mtime is before 2000, which is none, and ``modified_at`` is its ctime.
    """

    name: str
    size_bytes: int
    modified_at: float
    arrived_at: float
    ref: Ref
    by_ctime: bool = False


NO_MTIME = "its mtime is before 2000, which means that it is not set: the ctime counts instead"
"""Why a file's age is not that of its mtime; reported of the first such file."""


class Unmatched(msgspec.Struct, frozen=True):
    """Where index and directory disagree.

    ``files`` are audio without an entry; ``dangling`` are entries, each with its ref, that have
    no file; ``shared`` are the files that more than one entry names; ``partials`` are files that
    were being written, audio or index;
    ``needed`` are those of ``shared`` named by an entry that cannot be judged, and so is kept;
    ``fresh`` is audio written so shortly before the survey that its entry may be yet to come;
    ``sidecars`` are the text of audio that is gone (caches without an index); ``unjudged_bytes``
    is the size of audio that a member which cannot be judged may name.
    """

    files: Iterable[StoredFile] = ()
    dangling: Iterable[tuple[CacheEntry, Ref]] = ()
    shared: frozenset[str] = frozenset()
    partials: Iterable[StoredFile] = ()
    needed: frozenset[str] = frozenset()
    fresh: frozenset[str] = frozenset()
    unjudged_bytes: int = 0
    sidecars: Iterable[StoredFile] = ()


class ReadTime(msgspec.Struct, frozen=True):
    """One time of an item, as it is written and as it was read.

    ``name`` is what it is (``created_at``, ``mtime``), ``source`` where it is from (``index``,
    ``file``, ``object``, ``table``), ``written`` its text there. ``instant`` is ``None`` where
    that cannot be read. ``zone`` is the one that a text without an offset was read in, and
    ``known_by`` how it is known: see ``zones.known_by``.
    """

    name: str
    source: str
    written: str | None = None
    instant: float | None = None
    zone: str | None = None
    known_by: str | None = None


class FileRole(StrEnum):
    """What a file in the cache is that no entry names."""

    AUDIO = "audio"
    PARTIAL = "partial"
    SIDECAR = "sidecar"
    OTHER = "other"


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What a cache has of a name: an entry (``key``, and ``entry`` where it can be judged), or a
    file that no entry names (``role``).

    ``stored`` is the file as it is now, ``None`` where there is no regular one. ``unjudged`` says
    why no rule judges it. ``goes_with`` is the audio of a sidecar.
    ``later`` is another reading of an entry's ``created_at``, which counts once it is past.
    """

    key: str | None = None
    file: str | None = None
    entry: CacheEntry | None = None
    stored: StoredFile | None = None
    role: FileRole | None = None
    times: tuple[ReadTime, ...] = ()
    unjudged: str | None = None
    goes_with: str | None = None
    later: float | None = None


class Found(msgspec.Struct, frozen=True):
    """What there is of a name; ``names`` are the keys and files that it may mean."""

    names: frozenset[str] = frozenset()
    sightings: tuple[Sighting, ...] = ()


class CacheSurvey(Protocol):
    """A survey of a cache. Passes may be repeated and give the same answer.

    ``problems`` grows while ``batches`` is first consumed. ``unmatched`` and
    ``empty_files`` (the names of zero-byte audio and their mtime) need one whole pass before them.
    """

    @property
    def problems(self) -> Iterable[Problem]: ...

    @property
    def empty_files(self) -> Mapping[str, float]: ...

    def batches(self, *, last_used: bool = False) -> Iterator[EntryBatch]: ...

    def times_changed(self) -> bool:
        """After a whole pass: whether a next one reads times otherwise, in the zone it proved."""

    def unmatched(self) -> Unmatched: ...

    def find(self, spellings: Sequence[str]) -> Found:
        """After a whole pass: what there is of a key or a file, in any of these spellings."""

    def free_bytes(self) -> int | None: ...

    def stored_bytes(self) -> int | None:
        """The size of all audio there; ``None`` where the entries' sizes are those of files."""

    def size_of(self, file: str, stated: int) -> int:
        """The size of an entry's ``file`` as it is now, which the index states as ``stated``."""

    def is_linked(self, file: str) -> bool:
        """Whether ``file`` has other hard links, so that its removal would free nothing."""


class RequestStatus(StrEnum):
    """The states of a request in the service's words; foreign words are mapped by settings."""

    QUEUED = "queued"
    GENERATING = "generating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (RequestStatus.QUEUED, RequestStatus.GENERATING)
FINISHED = (RequestStatus.COMPLETED, RequestStatus.FAILED, RequestStatus.CANCELLED)
OTHER_STATUS = "other"
"""What statuses that have no name of their own are counted under."""

Scalar = str | int | float | None
"""A column's value exactly as the database gave it; guards compare with it."""


class GenerationRequest(msgspec.Struct, frozen=True):
    """One row: its id, status, instants, and the raw values that a guarded update compares with.

    ``guard`` holds the raw (status, created_at, started_at, heartbeat_at, scheduled_at) as read, of
    a finished row (status, created_at, started_at, completed_at); a column that is not mapped is
    ``None``. ``place`` is where the store has it (a rowid), to find it: id and guard identify it.
    """

    id: str | int
    status: RequestStatus
    created_at: float
    started_at: float | None
    heartbeat_at: float | None
    finished_at: float | None
    guard: tuple[Scalar, ...]
    place: int | None = None
    scheduled_at: float | None = None

    @property
    def start_is_unreadable(self) -> bool:
        """Whether ``started_at`` has a value that is no time."""
        return self.started_at is None and self.guard[2] is not None


class FoundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The row of an id: ``status`` as it is written, ``request`` where it can be judged, and else
    ``unjudged``, which says why no rule judges it. ``later`` is the request by the latest reading
    of its times, each of which counts once it is past."""

    id: str | int
    status: str
    request: GenerationRequest | None = None
    later: GenerationRequest | None = None
    times: tuple[ReadTime, ...] = ()
    unjudged: str | None = None


class RequestSurvey(Protocol):
    """A survey of the request table.

    ``by_status`` counts every row by the service's words (unknown ones unchanged);
    ``active`` and ``finished`` stream the rows that a policy may act on, in pages.
    """

    @property
    def problems(self) -> Iterable[Problem]: ...

    def by_status(self) -> dict[str, int]: ...

    def active(self) -> Iterator[Sequence[GenerationRequest]]: ...

    def finished(self, before: float) -> Iterator[Sequence[GenerationRequest]]: ...

    def find(self, identity: str) -> Sequence[FoundRequest]:
        """The rows whose id is shown as ``identity``, those of other services too."""


KB, MB = 1024, 1024 * 1024
"""The service counts its sizes in these (2**20 bytes), and calls them MB."""
MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
"""In seconds."""


class Progress(Protocol):
    """Told of each phase: ``start``, with the number of items where it is known, ``advance`` once
    for a batch, ``done`` unless it fails."""

    def start(self, phase: str, total: int | None = None) -> None: ...

    def advance(self, count: int = 1) -> None: ...

    def done(self) -> None: ...


class NoProgress:
    """Shows nothing."""

    def start(self, phase: str, total: int | None = None) -> None: ...

    def advance(self, count: int = 1) -> None: ...

    def done(self) -> None: ...
