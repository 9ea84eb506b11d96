"""One look at a directory with an index: entries judged by the planner, and what does not match."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from narration_cleanup.cache import index
from narration_cleanup.cache.directory import Directory
from narration_cleanup.cache.index import IndexMember, Members, Odd, UnreadableIndexError
from narration_cleanup.cache.index_file import IndexFile
from narration_cleanup.cache.listing import Listing, regular
from narration_cleanup.cache.places import Places
from narration_cleanup.cache.reconcile import Balance, Differences
from narration_cleanup.errors import IndexChangedError
from narration_cleanup.model import (
    CacheEntry,
    Half,
    Problem,
    Ref,
    Severity,
    StoredFile,
    Unmatched,
)
from narration_cleanup.problems import Problems

ReadTime = Callable[[str], float | None]
"""A time as the service writes it -> an instant; ``None`` where it cannot be read."""


class Batch:
    """Entries of some members; ``names`` are all files that the members lay claim to."""

    __slots__ = ("_members", "_positions", "entries", "names")

    def __init__(self, members: Members) -> None:
        self._members = members
        self._positions: list[int] = []
        self.entries: list[CacheEntry] = []
        self.names: list[str] = []

    def add(self, entry: CacheEntry, position: int) -> None:
        """Take in the entry made of the member at ``position``."""
        self.entries.append(entry)
        self._positions.append(position)
        self.names.append(entry.file)

    def ref(self, position: int) -> Ref:
        """The handle of the entry at ``position``."""
        return self._members.ref(self._positions[position])


class IndexSurvey:
    """A ``CacheSurvey`` of a directory whose index is one held version."""

    def __init__(
        self,
        directory: Directory,
        index_file: IndexFile,
        audio_suffixes: tuple[str, ...],
        read_time: ReadTime,
    ) -> None:
        self.problems = Problems()
        self.members_end = 0
        self._directory = directory
        self._index = index_file
        self._suffixes = audio_suffixes
        self._read_time = read_time
        self._places = Places(directory, audio_suffixes)
        self._listing = Listing(directory, audio_suffixes, index_file.name)
        self._balance = Balance()
        self._passes = 0
        for names in self._listing.scan():
            self._balance.add_files(names)

    @property
    def empty_files(self) -> dict[str, float]:
        """Zero-byte audio and its mtime."""
        return self._listing.empty_files

    def free_bytes(self) -> int:
        """Bytes free on the file system."""
        return self._directory.free_bytes()

    def batches(self, *, last_used: bool = False) -> Iterator[Batch]:
        """Every entry that can be understood; the others become problems, in the first pass."""
        first_pass = not self._passes
        self._passes += 1
        problems = self.problems if first_pass else Problems()
        try:
            for members in index.members(self._index.read, self._index.size):
                batch = self._batch(members, problems, last_used)
                if first_pass:
                    self._balance.add_entries(batch.names)
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
        for wanted in self._balance.rounds():
            names = (name for batch in self.batches() for name in batch.names if wanted(name))
            differences = Differences(names, self._listing.names(wanted))
            shared |= differences.shared
            files.extend(self._stored(differences.without_entry))
            dangling.extend(self._dangling(differences.without_file))
        partials = list(self._stored(self._listing.partials))
        return Unmatched(files, dangling, frozenset(shared), partials)

    def _stored(self, names: Sequence[str] | set[str]) -> Iterator[StoredFile]:
        for name in sorted(names):
            if found := regular(self._directory, name):
                yield found

    def _dangling(self, names: set[str]) -> Iterator[tuple[CacheEntry, Ref]]:
        missing = {name for name in names if self._directory.status(name) is None}
        if not missing:
            return
        for batch in self.batches():
            for position, entry in enumerate(batch.entries):
                if entry.file in missing:
                    yield entry, batch.ref(position)

    def _batch(self, members: Members, problems: Problems, last_used: bool) -> Batch:
        batch = Batch(members)
        read_time, name_of = self._read_time, self._places.name_of
        for position, (key, value) in enumerate(zip(members.keys, members.values, strict=True)):
            if isinstance(value, Odd):
                problems.add(_odd(key, value))
                batch.names.extend(self._claims(key, value.file_path))
                continue
            name = name_of(value.file_path)
            if name is None:
                problems.add(_outside(key, value))
                batch.names.extend(self._claims(key, value.file_path))
                continue
            created_at = read_time(value.created_at)
            if created_at is None:
                problems.add(_unreadable_time(key, value))
            used_at = read_time(value.last_accessed) if last_used else None
            size = max(value.file_size, 0)
            entry = CacheEntry(
                key, name, size, created_at, used_at, value.voice_style, value.variant_id
            )
            batch.add(entry, position)
        return batch

    def _claims(self, key: str, file_path: str | None) -> list[str]:
        """Names here that an entry which cannot be judged may mean: they are no orphans."""
        named = [] if file_path is None else [file_path.rpartition("/")[2]]
        return named + [key + suffix for suffix in self._suffixes]


def _odd(key: str, value: Odd) -> Problem:
    return Problem(
        Half.CACHE,
        "odd_entry",
        f"kept as it is: not an entry as the service writes it ({value.why}); the service itself "
        "would start with an empty cache on it",
        key,
    )


def _outside(key: str, value: IndexMember) -> Problem:
    return Problem(
        Half.CACHE,
        "outside_cache",
        f"kept: its file_path {value.file_path!r} is no audio file inside the cache directory",
        key,
    )


def _unreadable_time(key: str, value: IndexMember) -> Problem:
    return Problem(
        Half.CACHE,
        "unreadable_time",
        f"kept: its created_at {value.created_at!r} is no time",
        key,
        Severity.PROBLEM,
    )
