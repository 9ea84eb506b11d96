"""A cache directory with an index: what is removed, what stays, and what a run finds changed."""

import errno
import fcntl
import json
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.apply.result import CacheResult
from narration_cleanup.core.errors import (
    ConfigError,
    IndexChangedError,
    IndexFormatError,
    TargetError,
)
from narration_cleanup.core.model import NoProgress, Severity
from narration_cleanup.core.signals import Stop
from narration_cleanup.core.zones import IndexTimes
from narration_cleanup.plan import CachePlan, CachePolicy, plan_after, plan_cache
from narration_cleanup.plan.actions import (
    Kind,
    Outcome,
    Reason,
)
from narration_cleanup.stores.cache.index import CHUNK
from narration_cleanup.stores.cache.local import index_commit, index_file, scan
from narration_cleanup.stores.cache.local import indexed as indexed_module
from narration_cleanup.stores.cache.local.directory import OWN_FOLDER, Directory
from narration_cleanup.stores.cache.local.indexed import IndexedDirectory
from narration_cleanup.stores.cache.local.own_folder import StagingDir
from narration_cleanup.stores.cache.local.scan import DirectoryScan
from narration_cleanup.stores.cache.lookup import MAY_BE_NEEDED
from tests.run_at import arrival_before
from tests.samples import SAMPLE_NOW, CacheSample, EntrySpec, make_cache, read_index, write_index

NOW = SAMPLE_NOW.timestamp()
DAYS = [20, 9, 8, 6, 1]
"""Ages of the sample's entries: three expired, two not."""


@pytest.fixture
def sample(tmp_path: Path) -> CacheSample:
    entries = [EntrySpec(age=timedelta(days=days), size=100 + days) for days in DAYS]
    return make_cache(tmp_path / "cache" / "narration", entries=entries)


@pytest.fixture
def store(sample: CacheSample) -> Iterator[IndexedDirectory]:
    opened = open_store(sample.directory)
    yield opened
    opened.close()


def open_store(directory: Path, dir_in_index: Sequence[str] = ()) -> IndexedDirectory:
    return IndexedDirectory(
        directory,
        index_name="cache_index.json",
        audio_suffixes=(".mp3",),
        times=IndexTimes("UTC"),
        dir_in_index=dir_in_index,
    )


@pytest.fixture(autouse=True)
def _arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample's files are as old as their mtime: their ctime lies after `NOW`."""
    monkeypatch.setattr(scan, "stored_file", arrival_before(NOW))


def plan(store: IndexedDirectory, **policy: object) -> CachePlan:
    with store.survey() as survey:
        return plan_cache(survey, CachePolicy(**policy), NOW, explain=True)  # type: ignore[arg-type]


def apply(store: IndexedDirectory, planned: CachePlan) -> CacheResult:
    return apply_cache(planned, store, Stop(), NoProgress())


def outcomes(result: CacheResult) -> list[str]:
    return [outcome.value for _, outcome, _ in result.outcomes]


def names(sample: CacheSample) -> set[str]:
    return {path.name for path in sample.directory.glob("*.mp3")}


def test_expired_entries_go_with_their_files(sample: CacheSample, store: IndexedDirectory) -> None:
    result = apply(store, plan(store))
    assert outcomes(result) == ["done"] * 3
    assert result.freed_bytes == 120 + 109 + 108
    assert list(read_index(sample.index)) == [entry.key for entry in sample.entries[3:]]
    assert names(sample) == {entry.name for entry in sample.entries[3:]}
    assert os.listdir(sample.directory / OWN_FOLDER) == []


def test_the_new_index_has_the_old_ones_mode_and_owner(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    sample.index.chmod(0o664)
    if os.geteuid() == 0:
        os.chown(sample.index, 4711, 4712)
    before = sample.index.stat()
    apply(store, plan(store))
    after = sample.index.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        stat.S_IFREG | 0o664,
        before.st_uid,
        before.st_gid,
    )


def test_a_file_with_other_hard_links_frees_nothing(
    sample: CacheSample, store: IndexedDirectory, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.mp3"
    os.link(sample.directory / sample.entries[0].name, backup)
    result = apply(store, plan(store))
    assert outcomes(result) == ["done"] * 3
    assert result.freed_bytes == 109 + 108
    assert backup.stat().st_size == 120


def test_a_shared_file_stays_while_one_entry_needs_it(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    entries = read_index(sample.index)
    old, young = sample.entries[0], sample.entries[4]
    entries[young.key]["file_path"] = entries[old.key]["file_path"]
    write_index(sample.index, entries)
    planned = plan(store)
    assert [action.file for action in planned.actions] == [e.name for e in sample.entries[1:3]]
    assert planned.held == [(old.key, "its file is shared with an entry that stays")]
    apply(store, planned)
    assert old.name in names(sample)
    assert old.key in read_index(sample.index)


def test_a_file_of_two_expired_entries_goes_once(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    entries = read_index(sample.index)
    entries[sample.entries[1].key]["file_path"] = entries[sample.entries[0].key]["file_path"]
    write_index(sample.index, entries)
    (sample.directory / sample.entries[1].name).unlink()
    result = apply(store, plan(store))
    assert outcomes(result) == ["done"] * 3
    assert result.freed_bytes == 120 + 108
    assert list(read_index(sample.index)) == [entry.key for entry in sample.entries[3:]]


def test_paths_that_a_service_on_windows_wrote_name_files_here(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    entries = read_index(sample.index)
    for entry in sample.entries:
        entries[entry.key]["file_path"] = "cache\\narration\\" + entry.name
    write_index(sample.index, entries)
    planned = plan(store, orphan_ttl=0.0)
    assert list(planned.problems) == []
    assert (planned.totals.orphan_count, planned.totals.dangling_count) == (0, 0)
    assert outcomes(apply(store, planned)) == ["done"] * 3
    assert list(read_index(sample.index)) == [entry.key for entry in sample.entries[3:]]
    assert names(sample) == {entry.name for entry in sample.entries[3:]}


def test_malformed_and_outside_entries_keep_their_files(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """They are problems; what they may mean is no orphan, and is not removed with another entry."""
    entries: dict[str, object] = dict(read_index(sample.index))
    malformed, outside, twin = sample.entries[0], sample.entries[1], sample.entries[2]
    entries[malformed.key] = {**malformed.fields, "created_at": None}
    entries[outside.key] = {**outside.fields, "file_path": f"/elsewhere/{twin.name}"}
    write_index(sample.index, entries)
    (sample.directory / "orphan.mp3").write_bytes(b"audio")
    os.utime(sample.directory / "orphan.mp3", (NOW - 86_400, NOW - 86_400))
    planned = plan(store, orphan_ttl=0.0)
    assert [action.file for action in planned.actions] == [outside.name, "orphan.mp3"]
    assert [(p.code, p.subject) for p in planned.problems] == [
        ("malformed_entry", malformed.key),
        ("outside_cache", outside.key),
    ]
    assert planned.totals.entry_count == len(entries)
    assert planned.totals.total_size_bytes == sum(
        entry.size for entry in sample.entries if entry is not outside
    )
    apply(store, planned)
    assert {malformed.name, twin.name} <= names(sample)
    assert json.loads(sample.index.read_text())[malformed.key] == entries[malformed.key]


def test_in_a_locale_that_is_not_in_utf_8_a_name_may_have_other_characters_on_the_disk(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Latin-1 makes of a name in UTF-8 is no orphan, and the entry is not without a file."""
    index = read_index(sample.index)
    fields = dict(index[sample.entries[-1].key])
    index["size"] = fields | {"file_path": str(sample.directory / "größe.mp3")}
    write_index(sample.index, index)
    for name in ("größe.mp3".encode().decode("latin-1"), "orphan.mp3"):
        (sample.directory / name).write_bytes(b"audio")
        os.utime(sample.directory / name, (NOW - 86_400, NOW - 86_400))
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "iso8859-1")
    planned = plan(store, orphan_ttl=0.0)
    assert "orphan.mp3" in {action.file for action in planned.actions}
    assert all(action.file.isascii() for action in planned.actions)
    assert (planned.totals.orphan_count, planned.totals.dangling_count) == (1, 0)


def test_a_name_is_as_it_is_and_what_it_may_mean_decoded_is_no_orphan(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """A percent-encoded name is a name; where it has no file, the file of the decoded name stays,
    and goes as an orphan once its entry is gone."""
    entries = read_index(sample.index)
    old, young = sample.entries[0], sample.entries[4]
    here = sample.directory
    paths = {
        "literal": f"{here}/a%20b.mp3",
        "encoded": f"{here}/c%20d.mp3",
        "elsewhere": f"file://{here}/e%20f.mp3",
        "in a folder": f"{here}/g%2fh.mp3",
        "no name": f"{here}/i%00.mp3",
        "expired": f"{here}/j%20k.mp3",
    }
    for key, path in paths.items():
        fields = old.fields if key == "expired" else young.fields
        entries[key] = {**fields, "file_path": path}
    write_index(sample.index, entries)
    for name in ("a%20b", "a b", "c d", "e f", "h", "i", "j k"):
        (here / f"{name}.mp3").write_bytes(b"audio")
        os.utime(here / f"{name}.mp3", (NOW - 9 * 86_400, NOW - 9 * 86_400))
    planned = plan(store, orphan_ttl=0.0)
    expired = [each.name for each in sample.entries[:3]]
    removed = [action.file for action in planned.actions]
    assert sorted(removed) == sorted([*expired, "a b.mp3", "i.mp3", "j%20k.mp3"])
    with store.survey() as survey:
        plan_cache(survey, CachePolicy(), NOW)
        (kept,), (orphan,) = (survey.find([name]).sightings for name in ("c d.mp3", "a b.mp3"))
    assert (kept.unjudged, orphan.unjudged) == (MAY_BE_NEEDED, None)
    apply(store, planned)
    kept_names = {"a%20b.mp3", "c d.mp3", "e f.mp3", "h.mp3", "j k.mp3"}
    assert names(sample) == kept_names | {each.name for each in sample.entries[3:]}
    apply(store, plan(store, orphan_ttl=0.0))
    assert names(sample) == kept_names - {"j k.mp3"} | {each.name for each in sample.entries[3:]}


def _rename_folder(sample: CacheSample, folder: str, count: int, separator: str = "/") -> None:
    entries = read_index(sample.index)
    for entry in sample.entries[-count:]:
        entries[entry.key]["file_path"] = f"{folder}{separator}{entry.name}"
    write_index(sample.index, entries)


@pytest.mark.parametrize(
    ("written", "separator"),
    [("/app/audio", "/"), (r"\app\audio", "\\")],
    ids=["slash", "backslash"],
)
def test_a_folder_by_another_name_is_one_problem_with_what_to_set(
    sample: CacheSample, store: IndexedDirectory, written: str, separator: str
) -> None:
    _rename_folder(sample, written, 5, separator)
    (sample.directory / sample.entries[4].name).unlink()
    planned = plan(store, orphan_ttl=-1e10)
    assert list(planned.actions) == []
    (problem,) = planned.problems
    assert problem.code == "dir_in_index"
    assert 'set cache.dir_in_index = ["/app/audio"]' in problem.message
    told = open_store(sample.directory, dir_in_index=("/app/audio",))
    planned = plan(told, orphan_ttl=-1e10)
    assert [action.file for action in planned.actions] == [e.name for e in sample.entries[:3]]
    assert list(planned.problems) == []
    assert outcomes(apply(told, planned)) == ["done"] * 3
    assert list(read_index(sample.index)) == [entry.key for entry in sample.entries[3:]]
    told.close()


@pytest.mark.parametrize(("count", "folder", "there"), [(4, "/app/audio", 4), (5, "/x", 2)])
def test_what_may_be_another_folder_is_not_taken_for_this_one(
    sample: CacheSample, store: IndexedDirectory, count: int, folder: str, there: int
) -> None:
    """Where not nearly all entries name it, or most of their files are not here."""
    _rename_folder(sample, folder, count)
    for entry in sample.entries[there:]:
        (sample.directory / entry.name).unlink()
    assert {problem.code for problem in plan(store).problems} == {"outside_cache"}


def test_names_that_differ_in_case_alone_are_one_file_where_the_file_system_says_so(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expired entry and a live one share it then; of another it is no orphan."""
    listed = {name.casefold(): name for name in os.listdir(sample.directory)}
    status = Directory.status

    def folding(directory: Directory, name: str) -> os.stat_result | None:
        return status(directory, listed.get(name.casefold(), name))

    monkeypatch.setattr(Directory, "status", folding)
    entries = read_index(sample.index)
    shared, live = sample.entries[3], sample.entries[4]
    for key, entry in ((sample.entries[0].key, shared), (live.key, live)):
        path = str(entries[key]["file_path"])
        entries[key]["file_path"] = (
            f"{path.rpartition('/')[0]}/{entry.name.upper().replace('.MP3', '.mp3')}"
        )
    write_index(sample.index, entries)
    planned = plan(store, orphan_ttl=-1e10)
    assert {action.file for action in planned.actions} == {e.name for e in sample.entries[:3]}
    assert planned.by_reason == {Reason.EXPIRED: 2, Reason.ORPHAN: 1}
    assert planned.totals.dangling_count == 0


def test_an_index_that_its_service_is_just_replacing_is_waited_for(sample: CacheSample) -> None:
    moved = sample.index.rename(sample.directory / "moved")
    save = threading.Timer(0.05, moved.rename, [sample.index])
    save.start()
    open_store(sample.directory).close()
    save.join()


def test_while_a_members_file_is_unknown_nothing_is_an_orphan(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    entries: dict[str, object] = dict(read_index(sample.index))
    unknown = sample.entries[4]
    path = unknown.fields["file_path"]
    entries[unknown.key] = {"path": path, "created_at": unknown.fields["created_at"]}
    write_index(sample.index, entries)
    (sample.directory / "half.mp3.part").write_bytes(b"au")
    planned = plan(store, orphan_ttl=-1e10, partial_ttl=-1e10)
    assert [action.file for action in planned.actions] == [e.name for e in sample.entries[:3]]
    assert outcomes(apply(store, planned)) == ["done"] * 3
    assert names(sample) == {entry.name for entry in sample.entries[3:]}
    assert json.loads(sample.index.read_text())[unknown.key] == entries[unknown.key]
    (problem,) = planned.problems
    assert (problem.code, problem.subject) == ("malformed_entry", unknown.key)


@pytest.mark.parametrize(
    "change",
    [
        lambda index: {"version": 2, "entries": index},
        lambda index: {k: {"path": v["file_path"]} for k, v in index.items()},
        lambda index: {k: {**v, "created_at": "soon"} for k, v in index.items()},
    ],
    ids=["one-level-down", "another-name", "another-time"],
)
def test_an_index_of_another_format_is_refused(
    sample: CacheSample,
    store: IndexedDirectory,
    change: Callable[[dict[str, dict[str, str | int]]], object],
) -> None:
    sample.index.write_text(json.dumps(change(read_index(sample.index)), indent=2))
    with pytest.raises(IndexFormatError, match="may have changed its format"):
        plan(store, orphan_ttl=-1e10)


def test_most_members_that_are_not_understood_are_another_format(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """Ten are not most of anything, nor is a half."""
    entries: dict[str, object] = dict(read_index(sample.index))
    entries |= {f"k{number}": number for number in range(10)}
    write_index(sample.index, entries)
    assert len(plan(store).actions) == 3
    write_index(sample.index, entries | {"k10": 10})
    with pytest.raises(IndexFormatError, match="11 of 16 members"):
        plan(store)


def test_entries_with_a_new_field_are_cleaned_like_any_other(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    entries = {
        key: {**fields, "mood": {"new": [number]}, "file_size": float(fields["file_size"])}
        for number, (key, fields) in enumerate(read_index(sample.index).items())
    }
    write_index(sample.index, entries)
    planned = plan(store)
    assert list(planned.problems) == []
    assert planned.totals.total_size_bytes == sum(entry.size for entry in sample.entries)
    assert outcomes(apply(store, planned)) == ["done"] * 3
    assert read_index(sample.index) == {e.key: entries[e.key] for e in sample.entries[3:]}


def test_audio_made_anew_after_the_survey_stays(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    planned = plan(store)
    fresh = sample.directory / sample.entries[1].name
    fresh.write_bytes(b"fresh audio")
    result = apply(store, planned)
    assert outcomes(result) == ["done", "skipped", "done"]
    assert fresh.read_bytes() == b"fresh audio"
    assert sample.entries[1].key in read_index(sample.index)


def test_audio_written_within_five_minutes_before_the_survey_is_left(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """The service writes audio first: its entry may not be in the index yet."""
    fresh, settled = (sample.directory / sample.entries[number].name for number in (1, 2))
    os.utime(fresh, (time.time() - 290,) * 2)
    os.utime(settled, (time.time() - 310,) * 2)
    planned = plan(store)
    held = "its audio was written less than 5 minutes ago: the next run judges it"
    assert planned.held == [(sample.entries[1].key, held)]
    result = apply(store, planned)
    assert outcomes(result) == ["done"] * 2
    assert list(read_index(sample.index)) == [sample.entries[number].key for number in (1, 3, 4)]
    assert fresh.exists()
    assert not settled.exists()


def test_an_entry_that_comes_minutes_after_its_audio_keeps_it(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    fresh = sample.directory / sample.entries[1].name
    fresh.write_bytes(b"fresh audio")
    apply(store, plan(store))
    entries = read_index(sample.index)
    entries[sample.entries[1].key]["created_at"] = "2026-11-23T11:59:59.5"
    write_index(sample.index, entries)
    os.utime(fresh, (time.time() - 600,) * 2)
    apply(store, plan(store))
    assert fresh.read_bytes() == b"fresh audio"
    assert list(read_index(sample.index)) == [sample.entries[number].key for number in (1, 3, 4)]


def test_a_file_that_is_written_to_while_it_is_staged_is_put_back(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = sample.directory / sample.entries[0].name
    planned = plan(store)
    with target.open("ab", buffering=0) as writer:
        monkeypatch.setattr("time.sleep", lambda _: writer.write(b"more"))
        result = apply(store, planned)
    assert outcomes(result) == ["skipped", "done", "done"]
    assert target.read_bytes().endswith(b"more")
    assert os.listdir(sample.directory / OWN_FOLDER) == []


def test_what_a_killed_run_had_staged_is_put_back(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """Except where the service has made the audio anew: that is the newer one."""
    own = sample.directory / OWN_FOLDER
    own.mkdir()
    (own / "index.new").write_text("torn")
    for entry in sample.entries[:2]:
        (sample.directory / entry.name).rename(own / entry.name)
    newer = sample.directory / sample.entries[1].name
    newer.write_bytes(b"newer")
    assert store.recover() == 1
    assert (sample.directory / sample.entries[0].name).stat().st_size == 120
    assert newer.read_bytes() == b"newer"
    assert os.listdir(own) == []


def test_audio_is_put_back_whatever_becomes_of_a_new_index(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """Else its entry would look as if its file were gone, and leave the index."""
    own = sample.directory / OWN_FOLDER
    own.mkdir()
    (own / "index.new").mkdir()
    for entry in sample.entries:
        (sample.directory / entry.name).rename(own / entry.name)
    assert store.recover() == len(sample.entries)
    assert names(sample) == {entry.name for entry in sample.entries}


def test_where_nothing_can_be_staged_it_is_removed_in_place(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the first run: not even the folder can be made, until something is gone."""
    planned = plan(store)
    folder = StagingDir.descriptor

    def full(own: StagingDir) -> int:
        if (sample.directory / sample.entries[2].name).exists():
            raise OSError(28, "No space left on device")
        return folder(own)

    monkeypatch.setattr(StagingDir, "descriptor", full)
    result = apply(store, planned)
    assert outcomes(result) == ["done"] * 3
    assert list(read_index(sample.index)) == [entry.key for entry in sample.entries[3:]]


def test_the_services_saves_between_survey_and_commit_are_kept(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    planned = plan(store)
    entries = read_index(sample.index)
    entries[sample.entries[4].key]["last_accessed"] = "2026-11-23T11:59:00"
    entries["new"] = {**sample.entries[4].fields, "variant_id": "new"}
    write_index(sample.index, entries)
    apply(store, planned)
    gone = {entry.key for entry in sample.entries[:3]}
    assert read_index(sample.index) == {k: v for k, v in entries.items() if k not in gone}


def test_an_entry_that_changed_since_the_survey_stays(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    planned = plan(store)
    entries = read_index(sample.index)
    entries[sample.entries[0].key]["last_accessed"] = "2026-11-23T11:59:00"
    write_index(sample.index, entries)
    apply(store, planned)
    assert list(read_index(sample.index)) == [sample.entries[number].key for number in (0, 3, 4)]


def test_what_a_late_writer_wrote_into_the_replaced_index_is_brought_in(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had the old file open when the new one took its place; its save is the newest."""
    planned = plan(store)
    entries = read_index(sample.index)
    entries["late"] = {**sample.entries[4].fields, "variant_id": "late"}
    put_in_place = index_commit.IndexCommit._put_in_place
    writer = sample.index.open("r+")

    def slow(replacement: index_commit.IndexCommit) -> object:
        done = put_in_place(replacement)
        if not writer.closed:
            writer.truncate(0)
            json.dump(entries, writer, indent=2)
            writer.close()
        return done

    monkeypatch.setattr(index_commit.IndexCommit, "_put_in_place", slow)
    apply(store, planned)
    assert writer.closed
    gone = {entry.key for entry in sample.entries[:3]}
    assert read_index(sample.index) == {k: v for k, v in entries.items() if k not in gone}


def test_an_index_being_written_is_never_no_entries(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    whole = sample.index.read_bytes()
    for torn in (b"", whole[: len(whole) // 2], b"nul"):
        sample.index.write_bytes(torn)
        with pytest.raises(IndexChangedError):
            plan(store)
        assert len(names(sample)) == 5


def test_an_index_that_changes_during_a_pass_is_noticed(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too large to be held at once is read in passes over one version."""
    monkeypatch.setattr("narration_cleanup.stores.cache.local.index_file.HELD_WHOLE", 10)
    with store.survey() as survey:
        assert sum(len(batch.entries) for batch in survey.batches()) == 5
        entries = read_index(sample.index)
        entries[sample.entries[0].key]["variant_id"] = "other"
        write_index(sample.index, entries)
        with pytest.raises(IndexChangedError):
            list(survey.batches())


def test_runs_take_turns(sample: CacheSample, store: IndexedDirectory) -> None:
    """One that comes while another is at work waits; the lock is in the own folder."""
    other = open_store(sample.directory)
    order = []
    with store.locked():
        assert other.in_progress()

        def second() -> None:
            with other.locked():
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert not other.in_progress()
    assert {path.name for path in sample.directory.iterdir()} == names(sample) | {
        "cache_index.json",
        ".narration-cleanup",
    }
    other.close()


@pytest.mark.parametrize("place", ["missing", "file", "empty", "/"])
def test_a_wrong_place_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError):
        open_store(Path(place) if place == "/" else tmp_path / place)


def test_zero_byte_audio_goes_whatever_its_entry_says(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    empty = sample.directory / sample.entries[4].name
    os.truncate(empty, 0)
    os.utime(empty, (NOW - 7200, NOW - 7200))
    planned = plan(store)
    assert [
        (action.reason, action.file) for action in planned.actions if action.reason == "empty"
    ] == [("empty", empty.name)]
    assert next(iter(planned.actions)).kind is Kind.REMOVE_ENTRY
    result = apply(store, planned)
    assert result.outcomes.count(Outcome.DONE) == 4


@pytest.mark.parametrize("age", [20, 1])
def test_an_entry_whose_file_name_no_file_can_have_stops_nothing(
    sample: CacheSample, store: IndexedDirectory, age: int
) -> None:
    """It has no file, so it goes like any other of its kind, and the rest is cleaned beside it."""
    entries = read_index(sample.index)
    entry = sample.entries[DAYS.index(age)]
    entries[entry.key]["file_path"] = "a" * 300 + ".mp3"
    write_index(sample.index, entries)
    result = apply(store, plan(store, remove_dangling=True))
    assert set(outcomes(result)) == {"done"}
    left = {entry.key for entry in sample.entries[3:]} - {entry.key}
    assert set(read_index(sample.index)) == left
    assert list(result.problems) == []


@pytest.mark.parametrize("key", ["k" * 300, "nul\0", "../../victim", "/victim"])
def test_a_key_that_is_no_name_is_not_looked_for(
    sample: CacheSample, store: IndexedDirectory, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing outside is looked at."""
    entries: dict[str, object] = dict(read_index(sample.index))
    entries[key] = {"file_path": f"a/{key}.mp3"}
    write_index(sample.index, entries)
    asked: list[str] = []
    status = Directory.status

    def watched(directory: Directory, name: str) -> os.stat_result | None:
        asked.append(name)
        return status(directory, name)

    monkeypatch.setattr(Directory, "status", watched)
    planned = plan(store)
    assert [problem.code for problem in planned.problems] == ["malformed_entry"]
    assert outcomes(apply(store, planned)) == ["done"] * 3
    assert not any("/" in name for name in asked)
    assert json.loads(sample.index.read_text())[key] == entries[key]


def test_an_index_that_vanishes_during_the_work_stops_this_half_alone(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """When the command began it was there: the place is right, and what was done was done."""
    sample.index.unlink()
    with pytest.raises(IndexChangedError, match="gone"):
        plan(store)


def test_a_directory_that_cannot_be_looked_into_is_refused(
    sample: CacheSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Directory, name: str) -> os.stat_result | None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(Directory, "status", denied)
    with pytest.raises(ConfigError, match="Permission denied"):
        open_store(sample.directory)


def test_an_index_that_is_a_symbolic_link_is_called_one(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    sample.index.rename(sample.directory / "elsewhere.json")
    sample.index.symlink_to("elsewhere.json")
    with pytest.raises(TargetError, match="a symbolic link"):
        plan(store)


def test_a_look_that_was_killed_halfway_does_not_shorten_the_next_one(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """A look beside the first pass is stopped when the index changes under it; its process shares
    the open directory, and would leave it read to where it was."""
    (sample.directory / "orphan.mp3").write_bytes(b"audio")
    child = os.fork()
    if not child:
        names = DirectoryScan(store._directory, (".mp3",), "cache_index.json").names(lambda _: True)
        os._exit(not next(names))
    assert os.waitpid(child, 0)[1] == 0
    assert plan(store).totals.orphan_count == 1


def test_a_file_that_a_malformed_entry_names_too_stays(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """Two entries share it, and one of them is kept as it is."""
    entries: dict[str, object] = dict(read_index(sample.index))
    old = sample.entries[0]
    entries["odd"] = {"file_path": old.fields["file_path"]}
    write_index(sample.index, entries)
    planned = plan(store)
    assert planned.held == [(old.key, "its file is shared with an entry that stays")]
    assert outcomes(apply(store, planned)) == ["done"] * 2
    assert old.name in names(sample)
    left = json.loads(sample.index.read_text())
    assert left.keys() == {old.key, "odd", sample.entries[3].key, sample.entries[4].key}


def test_a_problem_stays_one_line_whatever_an_entry_says(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """It is kept, logged and sent: megabytes of a hostile entry must not be."""
    entries: dict[str, object] = dict(read_index(sample.index))
    long = "x" * 1_000_000
    keys = [entry.key for entry in sample.entries[:3]]
    entries[keys[0]] = {"file_path": long, "created_at": 1}
    entries[keys[1]] = {**sample.entries[1].fields, "file_path": f"/{long}/a.mp3"}
    entries[keys[2]] = {**sample.entries[2].fields, "created_at": long}
    write_index(sample.index, entries)
    problems = list(plan(store).problems)
    assert {problem.subject for problem in problems} == set(keys)
    assert all(len(problem.message) < 1_000 for problem in problems)


def test_a_folder_of_its_own_that_cannot_be_used_is_named(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    (sample.directory / OWN_FOLDER).write_text("in the way")
    result = apply(store, plan(store))
    assert outcomes(result) == ["failed"] * 3
    assert all(OWN_FOLDER in problem.message for problem in result.problems)
    assert names(sample) == {entry.name for entry in sample.entries}


def test_audio_from_the_future_stays_and_is_told(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    """It would never be old enough to be sure of, and nobody would hear of it."""
    ahead = sample.directory / sample.entries[1].name
    os.utime(ahead, (time.time() + 86_400,) * 2)
    result = apply(store, plan(store))
    assert outcomes(result) == ["done", "skipped", "done"]
    assert [(problem.code, problem.subject) for problem in result.problems] == [
        ("odd_file", sample.entries[1].key)
    ]
    assert ahead.exists()
    assert sample.entries[1].key in read_index(sample.index)


def test_an_index_of_another_group_names_the_group(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To be that user is not enough, and a message that says so sends the operator in circles."""

    def denied(fd: int, uid: int, gid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    os.chown(sample.index, -1, _another_group())
    planned = plan(store)
    monkeypatch.setattr(os, "fchown", denied)
    before = names(sample)
    result = apply(store, planned)
    (problem,) = result.problems
    assert f"gid {sample.index.stat().st_gid}" in problem.message
    assert len(read_index(sample.index)) == 5
    assert names(sample) - {OWN_FOLDER} == before - {OWN_FOLDER}
    assert list((sample.directory / OWN_FOLDER).iterdir()) == []


def test_the_size_is_that_of_the_files_before_a_run_and_after(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    entries = read_index(sample.index)
    for member in entries.values():
        member["file_size"] = 1
    write_index(sample.index, entries)
    planned = plan(store)
    sizes = {entry.name: entry.size for entry in sample.entries}
    assert planned.totals.total_size_bytes == sum(sizes.values())
    left = plan_after(planned)
    assert left is not None
    gone = {action.file for action in planned.actions}
    assert left.totals.total_size_bytes == sum(sizes[name] for name in sizes.keys() - gone)


def test_a_key_that_occurs_twice_is_one_entry(sample: CacheSample, store: IndexedDirectory) -> None:
    text = sample.index.read_text().rstrip()
    key = sample.entries[-1].key
    twin = f"{text[:-1]}, {json.dumps(key)}: {json.dumps(sample.entries[-1].fields)}}}"
    sample.index.write_text(twin)
    assert plan(store).totals.entry_count == len(sample.entries)


def test_a_size_that_no_file_has_stops_nothing(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    entries = read_index(sample.index)
    for number, size in enumerate((10**25, 1 << 60)):
        entries[sample.entries[number].key]["file_size"] = size
    write_index(sample.index, entries)
    planned = plan(store)
    assert list(planned.problems) == []
    assert planned.totals.total_size_bytes == sum(entry.size for entry in sample.entries)
    assert outcomes(apply(store, planned)) == ["done"] * 3
    assert names(sample) == {entry.name for entry in sample.entries[3:]}


def _another_group() -> int:
    """One that this user may give a file to, and that new files do not get; 4712 for root."""
    if os.geteuid() == 0:
        return 4712
    others = [gid for gid in os.getgroups() if gid != os.getegid()]
    if not others:
        pytest.skip("this user has one group only")
    return others[0]


@pytest.mark.parametrize("place", [OWN_FOLDER, f"{OWN_FOLDER}/second"])
def test_what_a_killed_run_set_aside_counts_as_there(
    sample: CacheSample, store: IndexedDirectory, place: str
) -> None:
    """A dry run says what the run will do, which puts it back first."""
    (sample.directory / place).mkdir(parents=True)
    for number in (0, 3, 4):
        name = sample.entries[number].name
        (sample.directory / name).rename(sample.directory / place / name)
    foreseen = plan(store)
    expired = [entry.key for entry in sample.entries[:3]]
    assert [action.id for action in foreseen.actions if action.kind.is_of_entry] == expired
    assert len(foreseen.actions) == 3
    assert foreseen.totals.dangling_count == 0
    (problem,) = foreseen.problems
    assert (problem.code, problem.severity) == ("set_aside", Severity.WARNING)
    assert "3 files" in problem.message
    other = open_store(sample.directory)
    with other.locked():
        assert list(plan(store).problems) == []  # they are those of the run that is at work
    other.close()
    assert store.recover() == 3
    done = plan(store)
    assert list(done.actions) == list(foreseen.actions)
    assert list(done.problems) == []


def test_what_was_made_anew_is_not_counted_with_what_was_set_aside(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    own = sample.directory / OWN_FOLDER
    own.mkdir()
    name = sample.entries[4].name
    (own / name).write_bytes(b"the old one")
    (own / "nobodys.mp3").write_bytes(b"an orphan")
    planned = plan(store, orphan_ttl=0.0)
    assert planned.totals.dangling_count == 0
    assert [action.kind for action in planned.actions] == [Kind.REMOVE_ENTRY] * 3


@pytest.mark.parametrize("name", ["sub%2Fx.mp3", "..%2Fvictim.mp3", "%2Fabs.mp3"])
def test_what_cannot_have_been_set_aside_here_is_told_and_in_nobodys_way(
    sample: CacheSample, store: IndexedDirectory, name: str
) -> None:
    (sample.directory / "sub").touch()
    victim = sample.directory.parent / "victim.mp3"
    victim.write_bytes(b"not ours")
    os.utime(victim, (0, 0))
    own = sample.directory / OWN_FOLDER
    own.mkdir()
    (own / name).write_bytes(b"planted")
    foreseen = plan(store)
    assert [problem.code for problem in foreseen.problems] == ["set_aside"]
    with store.locked():
        assert store.recover() == 0
        planned = plan(store)
        (problem,) = planned.problems
        assert (problem.code, problem.severity) == ("not_put_back", Severity.PROBLEM)
        assert str(own) in problem.message
        assert outcomes(apply(store, planned)) == ["done"] * 3
    assert len(foreseen.actions) == len(planned.actions) == 3
    assert foreseen.totals.orphan_count == planned.totals.orphan_count == 0
    assert victim.read_bytes() == b"not ours"
    assert (own / name).read_bytes() == b"planted"


def _a_folder(lock: Path) -> None:
    lock.mkdir()


def _a_link(lock: Path) -> None:
    lock.symlink_to("elsewhere")


@pytest.mark.parametrize("make", [_a_folder, _a_link, os.mkfifo])
def test_a_lock_that_cannot_be_locked_is_found_before_anything_goes(
    sample: CacheSample, store: IndexedDirectory, make: Callable[[Path], None]
) -> None:
    lock = sample.directory / "cache_index.json.lock"
    make(lock)
    before = names(sample)
    result = apply(store, plan(store))
    assert outcomes(result) == ["failed"] * 3
    (problem,) = result.problems
    assert problem.code == "index_lock"
    assert f"{lock} cannot be locked" in problem.message
    assert "Nothing was removed" in problem.message
    assert names(sample) == before
    assert len(read_index(sample.index)) == len(sample.entries)


def test_a_lock_that_the_file_system_cannot_take_is_found_before_anything_goes(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sample.directory / "cache_index.json.lock").touch()
    planned = plan(store)

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("narration_cleanup.core.locks.fcntl.flock", no_locks)
    result = apply(store, planned)
    assert outcomes(result) == ["failed"] * 3
    assert [problem.code for problem in result.problems] == ["index_lock"]
    assert len(names(sample)) == len(sample.entries)


def test_a_lock_that_is_held_for_long_is_named_before_anything_is_removed(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_module, "TRY_FOR", 0.05)
    lock = sample.directory / "cache_index.json.lock"
    before = names(sample)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = apply(store, plan(store))
    assert [problem.code for problem in result.problems] == ["index_locked"]
    assert outcomes(result) == ["failed"] * 3
    assert names(sample) == before
    assert len(read_index(sample.index)) == len(sample.entries)
    assert outcomes(apply(store, plan(store))) == ["done"] * 3


def test_where_the_index_cannot_follow_what_is_removed_is_reported_as_removed(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(self: index_commit.IndexCommit) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(index_commit.IndexCommit, "_put_in_place", busy)
    result = apply(store, plan(store))
    assert outcomes(result) == ["done"] * 3
    assert (result.removed_count, result.entries_left) == (3, 3)
    assert result.freed_bytes == 120 + 109 + 108
    (problem,) = result.problems
    assert problem.severity is Severity.PROBLEM
    assert "entries without a file, which follow in a later run: 3" in problem.message
    assert names(sample) == {entry.name for entry in sample.entries[3:]}
    assert len(read_index(sample.index)) == len(sample.entries)


@pytest.mark.parametrize("is_folder", [True, False])
def test_an_index_that_chattr_has_fixed_is_found_before_anything_is_removed(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch, is_folder: bool
) -> None:
    """Itself, or the folder that it lies in."""

    def flags(fd: int, *_: object) -> bytes:
        fixed = 0x20 if stat.S_ISDIR(os.fstat(fd).st_mode) is is_folder else 0
        return fixed.to_bytes(4, sys.byteorder) + bytes(4)

    monkeypatch.setattr(fcntl, "ioctl", flags)
    before = names(sample)
    result = apply(store, plan(store))
    (problem,) = result.problems
    assert problem.code == "index_fixed"
    place = sample.directory if is_folder else sample.index
    assert problem.message.startswith(f"{place} is immutable or append-only")
    assert outcomes(result) == ["failed"] * 3
    assert names(sample) == before


def test_an_index_that_is_mounted_as_a_file_is_found_before_anything_is_removed(
    sample: CacheSample, store: IndexedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = iter(["42", "41"])
    monkeypatch.setattr(index_file, "mount_id", lambda _: next(mounts))
    before = names(sample)
    result = apply(store, plan(store))
    (problem,) = result.problems
    assert problem.code == "index_fixed"
    assert "mount its folder instead" in problem.message
    assert names(sample) == before


def _long_index(first: str, last: str) -> bytes:
    """An index of several pieces whose first and last member have the same key."""
    old, new = "2020-01-01T00:00:00", SAMPLE_NOW.isoformat()
    filler = {f"k{n}": {"file_path": f"k{n}.mp3", "created_at": new} for n in range(9_000)}
    body = json.dumps(filler)[1:-1]
    pair = [
        json.dumps({"a": {"file_path": path, "created_at": created}})[1:-1]
        for path, created in ((first, old), (last, new))
    ]
    return f"{{{pair[0]},{body},{pair[1]}}}".encode()


def test_a_key_that_occurs_twice_far_apart_is_kept_and_reported_once(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    sample.index.write_bytes(_long_index("first.mp3", "last.mp3"))
    for name in ("first.mp3", "last.mp3"):
        (sample.directory / name).write_bytes(b"audio")
        os.utime(sample.directory / name, (NOW - 9_000, NOW - 9_000))
    before = sample.index.read_bytes()
    assert len(before) > 2 * CHUNK
    planned = plan(store, orphan_ttl=60)
    result = apply(store, planned)
    told = [problem for problem in planned.problems if problem.code == "malformed_entry"]
    assert [(problem.subject, "twice" in problem.message) for problem in told] == [("a", True)]
    assert sample.index.read_bytes() == before
    assert {"first.mp3", "last.mp3"} <= names(sample)
    assert result.removed_count > 0  # the sample's own audio has no entry any more


def test_a_path_that_names_no_audio_protects_that_file_alone(
    sample: CacheSample, store: IndexedDirectory
) -> None:
    entries = read_index(sample.index)
    fields = {"created_at": SAMPLE_NOW.isoformat()}
    index = {**entries, "x": {**fields, "file_path": "cover.txt"}}
    index["y"] = {**fields, "file_path": "narration/bare"}
    sample.index.write_text(json.dumps(index))
    for name in ("orphan.mp3", "bare.mp3", "cover.txt"):
        (sample.directory / name).write_bytes(b"audio")
        os.utime(sample.directory / name, (NOW - 9_000, NOW - 9_000))
    planned = plan(store, orphan_ttl=60)
    apply(store, planned)
    assert (sample.directory / "cover.txt").exists()
    assert "bare.mp3" in names(sample)
    assert "orphan.mp3" not in names(sample)
    assert {"x", "y"} <= read_index(sample.index).keys()
    assert [problem.subject for problem in planned.problems] == ["x", "y"]
