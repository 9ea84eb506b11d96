"""One look at a cache with an index: entries judged by the planner, and what does not match."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress
from typing import Protocol

from narration_cleanup.beside import Beside
from narration_cleanup.cache import index
from narration_cleanup.cache.index import IndexMember, Members, Odd, UnreadableIndexError
from narration_cleanup.cache.places import Places
from narration_cleanup.cache.reconcile import Cells, Differences, Seen, rounds
from narration_cleanup.errors import IndexChangedError
from narration_cleanup.escape import shown
from narration_cleanup.model import (
    CacheEntry,
    Figures,
    Half,
    Problem,
    Ref,
    Severity,
    Span,
    StoredFile,
    Unmatched,
)
from narration_cleanup.problems import Problems

ReadTime = Callable[[str], float | None]
"""A time as the service writes it -> an instant; ``None`` where it cannot be read."""


class Batch:
    """Entries of some members, and all the names that the members lay claim to.

    ``needed`` are those of them that members name which cannot be judged, and so stay.
    """

    __slots__ = ("_members", "_positions", "counted", "entries", "names", "needed")

    def __init__(
        self,
        members: Members,
        positions: Sequence[int],
        entries: list[CacheEntry],
        names: list[str],
        needed: Sequence[str] = (),
        counted: Figures = Figures(),  # noqa: B008 (it is immutable)
    ) -> None:
        """``positions`` are the members' that ``entries`` were made of."""
        self.counted = counted
        self._members = members
        self._positions = positions
        self.entries = entries
        self.names = names
        self.needed = needed

    def ref(self, position: int) -> Ref:
        """The handle of the entry at ``position``."""
        return self._members.ref(self._positions[position])


class Index(Protocol):
    """One version of an index; ``check_unchanged`` raises where it may not have been one."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes: ...

    def check_unchanged(self) -> None: ...


class Files(Protocol):
    """What lies beside the index. ``names`` tells the audio that ``wanted`` picks, as it is now."""

    def look(self) -> Seen: ...

    def names(self, wanted: Callable[[str], bool]) -> Iterator[str]: ...

    def stored(self, names: Iterable[str]) -> Iterator[StoredFile]: ...

    def missing(self, names: set[str]) -> set[str]: ...

    def free_bytes(self) -> int | None: ...

    def is_linked(self, name: str) -> bool: ...


class IndexSurvey:
    """A ``CacheSurvey`` of a cache whose index is one held version."""

    def __init__(
        self,
        index_file: Index,
        files: Files,
        places: Places,
        audio_suffixes: tuple[str, ...],
        read_time: ReadTime,
        *,
        fork: bool = False,
    ) -> None:
        """``fork``: look at the files in a process beside this one."""
        self.problems = Problems()
        self.members_end = 0
        self._index = index_file
        self._files = files
        self._suffixes = audio_suffixes
        self._read_time = read_time
        self._places = places
        self._claimed = Cells()
        self._passes = 0
        self._seen: Seen | None = None
        self._look = Beside(files.look, fork=fork)

    @property
    def seen(self) -> Seen:
        """What lies there; of a large directory this was found out beside the first pass."""
        if self._seen is None:
            self._seen = self._look.result()
        return self._seen

    @property
    def empty_files(self) -> dict[str, float]:
        """Zero-byte audio and its mtime."""
        return self.seen.empty_files

    def free_bytes(self) -> int | None:
        """Bytes free on the file system, where there is one."""
        return self._files.free_bytes()

    def is_linked(self, file: str) -> bool:
        """See ``CacheSurvey``."""
        return self._files.is_linked(file)

    def batches(self, *, last_used: bool = False, staying: Span | None = None) -> Iterator[Batch]:
        """Every entry that can be understood; the others become problems, in the first pass."""
        first_pass = not self._passes
        self._passes += 1
        problems = self.problems if first_pass else Problems()
        try:
            for members in index.members(self._index.read, self._index.size):
                batch = self._batch(members, problems, last_used, staying)
                if first_pass:
                    self._claimed.add(batch.names)
                    self.members_end = members.starts[-1]
                yield batch
        except UnreadableIndexError as error:
            raise IndexChangedError(str(error), self._index.size) from None
        self._index.check_unchanged()

    def unmatched(self) -> Unmatched:
        """Files without an entry, entries without a file, files of several entries; all exact."""
        files: list[StoredFile] = []
        dangling: list[tuple[CacheEntry, Ref]] = []
        shared: set[str] = set()
        needed: set[str] = set()
        for wanted in rounds(self._claimed, self.seen.audio):
            differences = Differences(self._names(wanted, needed), self._files.names(wanted))
            shared |= differences.shared
            files.extend(self._files.stored(differences.without_entry))
            dangling.extend(self._dangling(differences.without_file))
        partials = list(self._files.stored(self.seen.partials))
        return Unmatched(
            files,
            dangling,
            frozenset(shared),
            partials,
            frozenset(needed & shared),
            frozenset(self.seen.fresh),
        )

    def close(self) -> None:
        """Stop looking."""
        self._look.close()

    def _names(self, wanted: Callable[[str], bool], needed: set[str]) -> Iterator[str]:
        """The claimed names that ``wanted`` picks; fills ``needed`` on the way."""
        for batch in self.batches():
            needed.update(batch.needed)
            for name in batch.names:
                if wanted(name):
                    yield name

    def _dangling(self, names: set[str]) -> Iterator[tuple[CacheEntry, Ref]]:
        missing = self._files.missing(names)
        if not missing:
            return
        for batch in self.batches():
            for position, entry in enumerate(batch.entries):
                if entry.file in missing:
                    yield entry, batch.ref(position)

    def _batch(
        self, members: Members, problems: Problems, last_used: bool, staying: Span | None
    ) -> Batch:
        batch = self._plain_batch(members, last_used, staying)
        return batch or self._batch_with_oddities(members, problems, last_used)

    def _plain_batch(self, members: Members, last_used: bool, staying: Span | None) -> Batch | None:
        """The batch where every member is as the service writes it: by columns, which is quick."""
        values = [value for value in members.values if isinstance(value, IndexMember)]
        found = self._places.names_of([value.file_path for value in values])
        names = [name for name in found if name is not None]
        read_time = self._read_time
        read = [read_time(value.created_at) for value in values]
        created = [instant for instant in read if instant is not None]
        if len(names) != len(members.values) or len(created) != len(members.values):
            return None
        positions: Sequence[int] = range(len(values))
        counted = Figures()
        if staying is not None:
            first, last = staying
            stays = [first <= instant <= last for instant in created]
            positions = [position for position, it_stays in enumerate(stays) if not it_stays]
            counted = _figures(list(compress(values, stays)), list(compress(created, stays)))
        entries = []
        for position in positions:
            value = values[position]
            used_at = read_time(value.last_accessed) if last_used else None
            entries.append(
                _entry(members.keys[position], names[position], value, created[position], used_at)
            )
        return Batch(members, positions, entries, names, counted=counted)

    def _batch_with_oddities(self, members: Members, problems: Problems, last_used: bool) -> Batch:
        positions: list[int] = []
        entries: list[CacheEntry] = []
        names: list[str] = []
        needed: list[str] = []
        read_time, name_of = self._read_time, self._places.name_of
        for position, (key, value) in enumerate(zip(members.keys, members.values, strict=True)):
            if isinstance(value, Odd):
                problems.add(_odd(key, value))
                names.extend(self._claims(key, value.file_path))
                if value.file_path is not None and (name := name_of(value.file_path)):
                    needed.append(name)
                continue
            name = name_of(value.file_path)
            if name is None:
                problems.add(_outside(key, value))
                names.extend(self._claims(key, value.file_path))
                continue
            created_at = read_time(value.created_at)
            if created_at is None:
                problems.add(_unreadable_time(key, value))
            used_at = read_time(value.last_accessed) if last_used else None
            entries.append(_entry(key, name, value, created_at, used_at))
            positions.append(position)
            names.append(name)
        # They stay, and count as entries; what they say of their size is not believed.
        unjudged = Figures([0] * (len(members.values) - len(entries)))
        return Batch(members, positions, entries, names, needed, unjudged)

    def _claims(self, key: str, file_path: str | None) -> list[str]:
        """Names here that an entry which cannot be judged may mean: they are no orphans."""
        named = [] if file_path is None else [file_path.rpartition("/")[2]]
        names = named + [key + suffix for suffix in self._suffixes]
        return [name for name in names if "/" not in name and "\0" not in name]


def _entry(
    key: str, name: str, value: IndexMember, created_at: float | None, used_at: float | None
) -> CacheEntry:
    size = max(value.file_size, 0)
    return CacheEntry(key, name, size, created_at, used_at, value.voice_style, value.variant_id)


def _figures(values: Sequence[IndexMember], created: Sequence[float]) -> Figures:
    sizes = [size if (size := value.file_size) > 0 else 0 for value in values]
    return Figures(sizes, created, [value.voice_style for value in values])


def _odd(key: str, value: Odd) -> Problem:
    return Problem(
        Half.CACHE,
        "odd_entry",
        f"kept as it is: not an entry as the service writes it ({shown(value.why)}); the service "
        "itself may start with an empty cache on it",
        key,
    )


def _outside(key: str, value: IndexMember) -> Problem:
    return Problem(
        Half.CACHE,
        "outside_cache",
        f"kept: its file_path '{shown(value.file_path)}' is no audio file inside the cache "
        "directory",
        key,
    )


def _unreadable_time(key: str, value: IndexMember) -> Problem:
    return Problem(
        Half.CACHE,
        "unreadable_time",
        f"its created_at '{shown(value.created_at)}' is no time, so it does not expire",
        key,
        Severity.PROBLEM,
    )
