"""One look at a cache with an index: entries judged by the planner, and what does not match."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from heapq import nlargest
from itertools import repeat
from typing import Protocol

from narration_cleanup.core.errors import IndexChangedError, IndexFormatError
from narration_cleanup.core.model import (
    CacheEntry,
    Found,
    Problems,
    Ref,
    StoredFile,
    Unmatched,
    is_most,
)
from narration_cleanup.core.signals import end_survey_if_overdue
from narration_cleanup.core.text import printable
from narration_cleanup.core.timestamps import Reader, reader
from narration_cleanup.core.zones import NEARLY_ALL, NEWEST, IndexTimes, Sample
from narration_cleanup.stores.cache import index
from narration_cleanup.stores.cache.index import Members, OtherFormError, UnreadableIndexError
from narration_cleanup.stores.cache.local.mismatches import (
    Files,
    HashCells,
    Mismatches,
    NameSums,
    ScannedNames,
    Wanted,
    rounds,
)
from narration_cleanup.stores.cache.members import (
    OWN_FORM,
    TWICE,
    IndexForm,
    IndexMember,
    MalformedEntry,
    malformed,
    other_name,
    time_text,
    unjudged,
    unreadable_time,
)
from narration_cleanup.stores.cache.paths import (
    PathResolver,
    folder_of,
    names_meant,
    other_spellings,
    surely_named,
    unquoted,
)


class Batch:
    """Entries of some members, and all the names that the members lay claim to.

    ``needed`` are those of them that members name which cannot be judged, and so stay.
    """

    more_bytes = 0

    __slots__ = ("_members", "_positions", "entries", "names", "needed", "unjudged")

    def __init__(
        self,
        members: Members,
        positions: Sequence[int],
        entries: list[CacheEntry],
        names: list[str],
        needed: Sequence[str] = (),
        unjudged: int = 0,
    ) -> None:
        """``positions`` are the members' that ``entries`` were made of."""
        self.unjudged = unjudged
        self._members = members
        self._positions = positions
        self.entries = entries
        self.names = names
        self.needed = needed

    def whole(self, position: int) -> tuple[CacheEntry, Ref]:
        """The entry at ``position``, and its handle."""
        return self.entries[position], self._members.ref(self._positions[position])


class Index(Protocol):
    """One version of an index; ``check_unchanged`` raises where it may not have been one."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes: ...

    def check_unchanged(self) -> None: ...


class IndexSurvey:
    """A ``CacheSurvey`` of a cache whose index is one held version."""

    def __init__(
        self,
        index_file: Index,
        files: Files,
        places: PathResolver,
        audio_suffixes: tuple[str, ...],
        times: IndexTimes,
        form: IndexForm = OWN_FORM,
    ) -> None:
        self.problems = Problems()
        self.members_end = 0
        self._index = index_file
        self._files = files
        self._suffixes = audio_suffixes
        self._times = times
        self._form = form
        self._newest: list[tuple[float, str, str]] = []
        self._places = places
        self._claimed = NameSums()
        self._undetermined = False
        self._not_understood = 0
        self._outside = Problems()
        self._spellings: dict[str, str] = {}
        self._encoded: set[str] = set()
        self._example = ""
        self._passes = 0
        self._double: frozenset[int] = frozenset()
        self._reported: set[str] = set()
        self._seen: ScannedNames | None = None

    @property
    def seen(self) -> ScannedNames:
        """The files in the cache, scanned once, after the index was read."""
        if self._seen is None:
            self._seen = self._files.look()
        return self._seen

    @property
    def empty_files(self) -> dict[str, float]:
        """Zero-byte audio and its mtime."""
        return self.seen.empty_files

    def free_bytes(self) -> int | None:
        """Bytes free on the file system, where there is one."""
        return self._files.free_bytes()

    def stored_bytes(self) -> int:
        return self.seen.size_bytes

    def size_of(self, file: str, stated: int) -> int:
        return self._files.size_of(file)

    def is_linked(self, file: str) -> bool:
        return self._files.is_linked(file)

    def find(self, spellings: Sequence[str]) -> Found:
        """See ``CacheSurvey``."""
        from narration_cleanup.stores.cache.lookup import IndexLookup

        lookup = IndexLookup(
            self._files,
            self._places,
            self._suffixes,
            self._times,
            self._double,
            has_sizes=self._form.file_size is not None,
        )
        lookup.spellings, lookup.is_determined = self._spellings, not self._undetermined
        lookup.partials = frozenset(self.seen.partials)
        lookup.encoded = frozenset(self._encoded)
        return lookup.find(spellings, self._members)

    def batches(self, *, last_used: bool = False) -> Iterator[Batch]:
        """Every entry that can be understood; the others become problems, in the first pass."""
        first_pass, self._newest = not self._passes, []
        self._passes += 1
        problems = self.problems if first_pass else Problems()
        total, once = 0, len(self._double)
        keys = HashCells()
        # Uses are compared with each other: in an open zone all are read in one way.
        read_use = reader(self._times.zone) if last_used else None
        try:
            for members in self._members():
                batch = self._batch(members, problems, read_use)
                if first_pass:
                    self._claimed.add(batch.names)
                    keys.add(members.keys)
                    self.members_end = members.starts[-1]
                    total += len(members.keys)
                batch.unjudged += once
                once = 0
                yield batch
        except OtherFormError as error:
            raise IndexFormatError(str(error)) from None
        except UnreadableIndexError as error:
            raise IndexChangedError(str(error), self._index.size) from None
        self._index.check_unchanged()
        if first_pass:
            self._double = keys.repeated()
            self._refuse_other_format(total)
            self.problems.extend(self._outside_problems(total))

    def times_changed(self) -> bool:
        """See ``CacheSurvey``: also where keys occur twice, which is known after a whole pass."""
        has_double = bool(self._double)
        if self._times.is_judged:
            return has_double
        stored = self._files.stored({name for _, _, name in self._newest})
        modified = {file.name: file.modified_at for file in stored}
        samples = [
            Sample(text, modified[name]) for _, text, name in self._newest if name in modified
        ]
        changed = self._times.judge(samples[:NEWEST])
        self.problems.extend(self._times.problems)
        return changed or has_double

    def unmatched(self) -> Unmatched:
        """Files without an entry, entries without a file, files of several entries; all exact.

        While the file of one member is not known, it may be any: then no file counts as one
        without an entry, and no partial one as left. Where a name is percent-encoded and has no
        file, what has the decoded name may be meant, and is none without an entry either.
        """
        files: list[StoredFile] = []
        dangling: list[tuple[CacheEntry, Ref]] = []
        shared: set[str] = set()
        needed: set[str] = set()
        unlisted: set[str] = set()
        claimed_names = partial(self._names, needed=needed)
        for wanted in rounds(self._claimed, self.seen.audio, claimed_names, self._files.names):
            differences = Mismatches(claimed_names(wanted), self._files.names(wanted))
            shared |= differences.shared
            files.extend(self._files.stored(surely_named(differences.without_entry)))
            missing = self._files.missing(differences.without_file)
            self._encoded.update(unquoted(name) for name in missing if "%" in name)
            dangling.extend(self._dangling(surely_named(missing)))
            unlisted |= differences.without_file - missing
        if unlisted:
            self._spellings = other_spellings(unlisted, self._files.names)
            spelled = set(self._spellings.values())
            files = [file for file in files if file.name not in spelled]
            named = Counter(self._names(spelled.__contains__, needed))
            shared.update(name for name, count in named.items() if count > 1)
        partials = list(self._files.stored([] if self._undetermined else self.seen.partials))
        claimed = {file.name for file in files} if self._undetermined else self._encoded
        unjudged = sum(file.size_bytes for file in files if file.name in claimed)
        files = [file for file in files if file.name not in claimed]
        both, fresh = frozenset(needed & shared), frozenset(self.seen.fresh)
        return Unmatched(files, dangling, frozenset(shared), partials, both, fresh, unjudged)

    def _names(self, wanted: Wanted, needed: set[str]) -> Iterator[str]:
        """The claimed names that ``wanted`` picks; fills ``needed`` on the way."""
        for batch in self.batches():
            end_survey_if_overdue()
            needed.update(batch.needed)
            yield from filter(wanted, batch.names)

    def _dangling(self, missing: set[str]) -> Iterator[tuple[CacheEntry, Ref]]:
        if not missing:
            return
        for batch in self.batches():
            for position, entry in enumerate(batch.entries):
                if entry.file in missing:
                    yield batch.whole(position)

    def _batch(self, members: Members, problems: Problems, read_use: Reader | None) -> Batch:
        """By columns, which is quick; members that cannot be judged are kept, and reported."""
        found = self._places.names_of([value.file_path or "" for value in members.values])
        if self._spellings:
            found = [name and self._spellings.get(name, name) for name in found]
        all_keys = members.keys if self._double else ()
        double = {at for at, key in enumerate(all_keys) if hash(key) in self._double}
        judged = {
            at: value
            for at, (value, name) in enumerate(zip(members.values, found, strict=True))
            if name is not None and isinstance(value, IndexMember) and at not in double
        }
        keys = [members.keys[at] for at in judged]
        names = [found[at] or "" for at in judged]
        values = list(judged.values())
        created = _read([value.created_at for value in values], self._times.read)
        self._note_newest(created, values, names)
        used: Iterable[float | None] = repeat(None)
        if read_use is not None:
            used = _read([value.last_accessed for value in values], read_use)
        columns = zip(keys, names, self._sizes(values, names), created, used, values, strict=False)
        entries = [
            CacheEntry(key, name, size, created_at, used_at, value.voice_style, value.variant_id)
            for key, name, size, created_at, used_at, value in columns
        ]
        needed: list[str] = []
        if len(entries) < len(found) or None in created:
            timed = {at for at, instant in zip(judged, created, strict=True) if instant is not None}
            for at in [at for at in range(len(found)) if at not in timed]:
                needed += self._keep(members, at, found[at], problems, is_judged=at in judged)
        unjudged = len(found) - len(entries) - len(double)  # those are counted once, by ``batches``
        return Batch(members, list(judged), entries, names + needed, needed, unjudged)

    def _keep(
        self, members: Members, at: int, name: str | None, problems: Problems, *, is_judged: bool
    ) -> list[str]:
        """Report a member that has no time, or is not judged at all; the names that one claims."""
        key, value = members.keys[at], members.values[at]
        first_pass = problems is self.problems
        claims: list[str] = []
        if is_judged and isinstance(value, IndexMember):
            problem = unreadable_time(key, value)
        else:
            if hash(key) in self._double:
                value = malformed(TWICE, value.file_path)
            claims = names_meant(value.file_path, self._suffixes) if name is None else [name]
            self._undetermined |= not claims
            problem = unjudged(key, value, is_determined=bool(claims))
            if first_pass and not isinstance(value, MalformedEntry):
                self._outside.add(problem)
                return claims
        if isinstance(value, MalformedEntry) and value.why == TWICE:
            if key not in self._reported:
                self.problems.add(problem)
            self._reported.add(key)
        else:
            problems.add(problem)
        if first_pass:
            self._not_understood += 1
            if not self._example:
                why = value.why if isinstance(value, MalformedEntry) else "it has no time"
                self._example = f"'{printable(key, most=80)}': {printable(why)}"
        return claims

    def _outside_problems(self, total: int) -> Problems:
        """Those of entries elsewhere; a single one where that is this folder by another name."""
        if not total or len(self._outside) < NEARLY_ALL * min(NEWEST, total):
            return self._outside
        newest = self._newest_members()
        (folder, count), *_ = Counter(folder for folder, _ in newest).most_common(1)
        there = [dated for other, dated in newest if other == folder]
        files = {name for _, _, name in there}
        here = len(files) - len(self._files.missing(files))
        if not folder or count < NEARLY_ALL * len(newest) or 2 * here <= len(files):
            return self._outside
        self._newest = there  # their files prove the zone, which requests are read in too
        return Problems([other_name(folder, len(self._outside))])

    def _members(self) -> Iterator[Members]:
        return index.members(self._index.read, self._index.size, self._form)

    def _newest_members(self) -> list[tuple[str, tuple[float, str, str]]]:
        """The folders of the newest entries; their times, and the last parts of their paths."""
        read_time = self._times.read
        dated = (
            (read_time(value.created_at) or 0.0, value.created_at, value.file_path)
            for members in self._members()
            for value in members.values
            if isinstance(value, IndexMember)
        )
        return [
            (folder_of(path), (at, text, (names_meant(path, self._suffixes) or [""])[0]))
            for at, text, path in nlargest(NEWEST, dated)
        ]

    def _refuse_other_format(self, total: int) -> None:
        """Raise ``IndexFormatError`` where most members are not understood, or all of them."""
        count = self._not_understood
        if count and (count == total or is_most(count, total)):
            what = f"{count} of {total} members are not understood ({self._example})"
            raise IndexFormatError(f"{what}: the service may have changed its format")

    def _sizes(self, values: Sequence[IndexMember], names: Sequence[str]) -> list[int]:
        """As the index states them, or, where it states none, those of the files."""
        if self._form.file_size is None:
            return [self._files.size_of(name) for name in names]
        return [value.file_size for value in values]

    def _note_newest(
        self, created: Sequence[float | None], values: Iterable[IndexMember], names: Sequence[str]
    ) -> None:
        """Keep the newest entries, twice as many as a proof needs: some may have no file."""
        if self._times.is_judged:
            return
        most = 2 * NEWEST
        oldest = self._newest[-1][0] if len(self._newest) == most else 0.0
        if max(filter(None, created), default=0.0) <= oldest:
            return
        found = [
            (at, value.created_at, name)
            for at, value, name in zip(created, values, names, strict=True)
            if at is not None and at > oldest
        ]
        if found:
            self._newest = nlargest(most, self._newest + found)


def _read(texts: Sequence[str], read_time: Reader) -> list[float | None]:
    """The times in ``texts``, also those in digits."""
    found = [read_time(text) for text in texts]
    return [read_time(time_text(text)) for text in texts] if None in found else found
