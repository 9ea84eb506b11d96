"""Where an index and its files disagree: found exactly, in a number of looks that does not grow."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.model import Unmatched
from narration_cleanup.stores.cache import index
from narration_cleanup.stores.cache.local import mismatches
from narration_cleanup.stores.cache.local.mismatches import Mismatches, NameSums, Wanted, rounds
from tests.opened import open_sample
from tests.samples import CacheSample, EntrySpec, make_cache, read_index, write_index

NAMES = st.lists(st.integers(0, 60).map("{}.mp3".format), max_size=60)
YOUNG = timedelta(days=1)


def use_cells(patch: pytest.MonkeyPatch, cells: int, at_a_time: int) -> None:
    patch.setattr(mismatches, "CELLS", cells)
    patch.setattr(mismatches, "_MASK", cells - 1)
    patch.setattr(mismatches, "NAMES_AT_A_TIME", at_a_time)


@given(
    claimed=NAMES,
    there=NAMES.map(set),
    cells=st.sampled_from([4, 1 << 13]),
    at_a_time=st.sampled_from([1, 5, 1_000]),
)
def test_the_names_that_are_looked_at_again_are_all_that_differ(
    claimed: list[str], there: set[str], cells: int, at_a_time: int
) -> None:
    def claimed_names(wanted: Wanted) -> Iterable[str]:
        return filter(wanted, claimed)

    def names_there(wanted: Wanted) -> Iterable[str]:
        return filter(wanted, there)

    with pytest.MonkeyPatch.context() as patch:
        use_cells(patch, cells, at_a_time)
        entries, files = NameSums(), NameSums()
        entries.add(claimed)
        files.add(list(there))
        found = [
            Mismatches(claimed_names(wanted), names_there(wanted))
            for wanted in rounds(entries, files, claimed_names, names_there)
        ]
    assert Counter(name for each in found for name in each.without_entry) == Counter(
        there.difference(claimed)
    )
    assert Counter(name for each in found for name in each.without_file) == Counter(
        set(claimed).difference(there)
    )
    shared = {name for name, count in Counter(claimed).items() if count > 1}
    assert set().union(*(each.shared for each in found)) == shared
    if at_a_time == 1_000:
        assert len(found) <= 1


def make_mismatched(folder: Path) -> CacheSample:
    """300 entries: 30 have no file, 10 the file of another one; 30 files have no entry."""
    entries = [EntrySpec(age=YOUNG, file=number % 10 > 0) for number in range(300)]
    sample = make_cache(folder / "cache" / "narration", entries=entries)
    written = read_index(sample.index)
    for number in range(1, 100, 10):
        written[sample.entries[number].key]["file_path"] = written[sample.entries[number + 1].key][
            "file_path"
        ]
    write_index(sample.index, written)
    for number in range(20):  # the ten that lost their entry are the others
        shutil.copy2(sample.directory / sample.entries[3].name, sample.directory / f"{number}.mp3")
    return sample


@pytest.mark.parametrize("at_a_time", [1_000, 70, 20])
def test_where_many_differ_the_index_is_read_no_more_often_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    sample = make_mismatched(tmp_path)
    unchanged = sorted(path.name for path in sample.directory.iterdir())
    passes = 0
    read_members = index.members

    def counted(*given: object) -> object:
        nonlocal passes
        passes += 1
        return read_members(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(index, "members", counted)
    use_cells(monkeypatch, 16, at_a_time)
    with closing(open_sample(sample)) as store, store.survey() as survey:
        for _ in survey.batches():
            pass
        before = passes
        unmatched: Unmatched = survey.unmatched()
    gone = {entry.name for entry in sample.entries[::10]}
    lost = {entry.name for entry in sample.entries[1:100:10]}
    assert {entry.file for entry, _ in unmatched.dangling} == gone
    assert {file.name for file in unmatched.files} == lost | {f"{n}.mp3" for n in range(20)}
    assert unmatched.shared == {entry.name for entry in sample.entries[2:100:10]}
    assert sorted(path.name for path in sample.directory.iterdir()) == unchanged
    # One look by the hashes where there are more names than are held at a time; then two for
    # each part of the 70 that differ: for the names, and for the entries without a file.
    parts = {1_000: 1, 70: 1, 20: 4}[at_a_time]
    assert passes - before <= 2 * parts + (at_a_time < 300)
