"""A cache without an index: what is an entry, what goes with it, and what never leads outside."""

from __future__ import annotations

import os
import random
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from narration_cleanup.apply.apply import apply_cache
from narration_cleanup.apply.result import CacheResult
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.model import NoProgress
from narration_cleanup.core.signals import Stop
from narration_cleanup.plan import CachePlan, CachePolicy, plan_after, plan_cache
from narration_cleanup.plan.actions import (
    Kind,
    Outcome,
    Reason,
)
from narration_cleanup.stores.cache import FileTarget, Removal
from narration_cleanup.stores.cache.local import unindexed as tree_module
from narration_cleanup.stores.cache.local import walk
from narration_cleanup.stores.cache.local.directory import OWN_FOLDER, Mounts
from narration_cleanup.stores.cache.local.own_folder import MARK, StagingDir
from narration_cleanup.stores.cache.local.unindexed import AudioTree
from narration_cleanup.stores.cache.paths import SIDECAR_SUFFIXES
from tests.samples import SAMPLE_NOW, tree_digest
from tests.stores.leftovers import FRESH, KEPT, SIDECARS, USELESS, digest, temporary

NOW = SAMPLE_NOW.timestamp()
DAY = 86_400.0
SUFFIXES = (".mp3", ".wav", ".ogg", ".opus", ".m4a", ".flac")

Make = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


@pytest.fixture
def make(root: Path) -> Make:
    def file(name: str, age: float = 10, *, size: int = 10, used: float | None = None) -> Path:
        """A file ``age`` days old, last read ``used`` days ago."""
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        written = NOW - age * DAY
        os.utime(path, (written if used is None else NOW - used * DAY, written))
        return path

    return file


@pytest.fixture
def store(root: Path) -> Iterator[AudioTree]:
    opened = AudioTree(root, audio_suffixes=SUFFIXES)
    yield opened
    opened.close()


def plan(store: AudioTree, **policy: object) -> CachePlan:
    with store.survey() as survey:
        return plan_cache(survey, CachePolicy(**policy), NOW)  # type: ignore[arg-type]


def apply(store: AudioTree, planned: CachePlan) -> CacheResult:
    return apply_cache(planned, store, Stop(), NoProgress())


def run(store: AudioTree, **policy: object) -> CacheResult:
    return apply(store, plan(store, **policy))


def names(root: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if OWN_FOLDER not in path.parts and not path.is_dir()
    }


def told(planned: CachePlan) -> set[tuple[str, str | None]]:
    return {(problem.code, problem.subject) for problem in planned.problems}


def test_only_old_audio_goes_and_only_its_own_sidecars(
    root: Path, make: Make, store: AudioTree
) -> None:
    for folder in ("", "a/", "a/b/"):
        for suffix in SUFFIXES:
            make(f"{folder}old{suffix[1:]}{suffix}")
            make(f"{folder}new{suffix[1:]}{suffix}", 1)
        for suffix in SIDECAR_SUFFIXES:
            make(f"{folder}oldmp3{suffix}", 1)
            make(f"{folder}newmp3{suffix}")
            make(f"{folder}alone{suffix}", 400)
        make(f"{folder}settings.yaml", 400)
        make(f"{folder}oldmp3.yaml", 400)
        make(f"{folder}oldmp3", 400)
        make(f"{folder}tts.db", 400)
        make(f"{folder}loud.MP3.bak", 400)
    before = names(root)
    gone = {f"{f}old{s[1:]}{s}" for f in ("", "a/", "a/b/") for s in SUFFIXES}
    sidecars = {f"{f}oldmp3{s}" for f in ("", "a/", "a/b/") for s in SIDECAR_SUFFIXES}
    result = run(store)
    assert names(root) == before - gone - sidecars
    assert result.removed_count == len(gone)
    assert result.freed_bytes == result.plan.planned_bytes == 10 * len(gone | sidecars)
    assert list(result.problems) == list(result.plan.problems) == []
    assert os.listdir(root / OWN_FOLDER) == []
    assert run(store).removed_count == 0


def test_the_ttl_is_strict_to_the_nanosecond(root: Path, make: Make, store: AudioTree) -> None:
    exact = int(NOW - 7 * DAY) * 10**9
    for name, when in {"at": exact, "after": exact + 10**6, "before": exact - 10**6}.items():
        os.utime(make(f"{name}.mp3"), ns=(when, when))
    run(store)
    assert names(root) == {"at.mp3", "after.mp3"}


def test_atime_counts_where_it_is_asked_for(
    root: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("read-lately.mp3", 30, used=1)
    make("written-lately.mp3", 1, used=30)
    monkeypatch.setattr(tree_module, "mounts_of", lambda _: Mounts())
    store = AudioTree(root, audio_suffixes=SUFFIXES, by_atime=True)
    planned = plan(store)
    assert told(planned) == set()
    apply(store, planned)
    assert names(root) == {"read-lately.mp3"}
    store.close()


def test_audio_used_since_the_look_stays_where_atime_counts(root: Path, make: Make) -> None:
    used, unused = make("used.mp3", 30), make("unused.mp3", 30)
    store = AudioTree(root, audio_suffixes=SUFFIXES, by_atime=True)
    planned = plan(store)
    os.utime(used, (NOW, NOW - 30 * DAY))
    result = apply(store, planned)
    assert sorted(outcome for _, outcome, _ in result.outcomes) == [Outcome.DONE, Outcome.SKIPPED]
    assert used.exists()
    assert not unused.exists()
    store.close()


@pytest.mark.parametrize("option", ["noatime", "relatime"])
def test_a_mount_that_does_not_keep_atime_is_warned_of(
    option: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = Mounts(options=frozenset({"rw", option}))
    monkeypatch.setattr(tree_module, "mounts_of", lambda _: mounts)
    for by_atime in (True, False):
        store = AudioTree(root, audio_suffixes=SUFFIXES, by_atime=by_atime)
        found = [(p.code, p.severity.value, option in p.message) for p in plan(store).problems]
        assert found == ([("atime", "warning", True)] if by_atime else [])
        store.close()


def test_sidecars_stay_as_long_as_any_audio_of_their_stem(
    root: Path, make: Make, store: AudioTree
) -> None:
    make("said.mp3")
    make("said.wav", 1)
    make("said.json")
    run(store)
    assert names(root) == {"said.wav", "said.json"}
    os.utime(root / "said.wav", (NOW - 8 * DAY, NOW - 8 * DAY))
    run(store)
    assert names(root) == set()


def test_a_sidecar_that_names_its_audio_stays_with_other_audio_of_that_stem(
    root: Path, make: Make, store: AudioTree
) -> None:
    make("said.mp3")
    make("said.mp3.wav", 1)
    make("said.mp3.json")
    run(store)
    assert names(root) == {"said.mp3.wav", "said.mp3.json"}


def test_sidecars_go_with_the_last_of_several_in_one_run(
    root: Path, make: Make, store: AudioTree
) -> None:
    for suffix in (".mp3", ".wav", ".json"):
        make(f"said{suffix}")
    run(store)
    assert names(root) == set()


def test_sidecars_of_several_are_promised_by_none(root: Path, make: Make, store: AudioTree) -> None:
    make("said.mp3")
    make("said.wav", 1)
    make("said.json", size=500)
    make("both.mp3")
    make("both.wav")
    make("both.json", size=500)
    planned = plan(store)
    assert planned.totals.total_size_bytes == 4 * 10 + 2 * 500, "each sidecar once"
    assert {a.file for a in planned.actions} == {"said.mp3", "both.mp3", "both.wav"}
    assert not any("with its sidecar" in action.detail for action in planned.actions)
    assert planned.shares_sidecars
    assert plan_after(planned) is None, "how it stands afterwards has to be looked at"
    assert apply(store, planned).freed_bytes == 3 * 10 + 500
    assert plan(store).totals.total_size_bytes == 10 + 500
    assert names(root) == {"said.wav", "said.json"}


@pytest.mark.parametrize("changed", ["said.wav", "said.pho", "removed", "replaced"])
def test_a_group_of_which_anything_changed_stays_whole(
    changed: str, root: Path, make: Make, store: AudioTree
) -> None:
    """A service that makes a narration anew may write the phonemes first, or the audio."""
    for name in ("v/said.wav", "v/said.pho", "v/other.wav", "v/other.pho"):
        make(name)
    planned = plan(store)
    if changed == "removed":
        (root / "v/said.pho").unlink()
    elif changed == "replaced":
        fresh = make("v/fresh", 10)
        fresh.rename(root / "v/said.pho")
    else:
        make(f"v/{changed}", 10, size=11)
    left = {name for name in names(root) if "said" in name}
    result = apply(store, planned)
    assert names(root) == left
    assert {outcome for _, outcome, _ in result.outcomes} == {Outcome.DONE, Outcome.SKIPPED}


@pytest.mark.parametrize("written", ["said.wav", "said.pho"])
def test_a_group_written_to_while_it_is_staged_is_put_back(
    written: str, root: Path, make: Make, store: AudioTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("v/said.wav", "v/said.pho"):
        make(name)
    with open(root / "v" / written, "ab") as held:

        def write_late(_: float) -> None:
            held.write(b"late")
            held.flush()

        monkeypatch.setattr("narration_cleanup.stores.cache.local.staging.time.sleep", write_late)
        result = run(store)
    assert [outcome for _, outcome, _ in result.outcomes] == [Outcome.SKIPPED]
    assert names(root) == {"v/said.wav", "v/said.pho"}
    assert (root / "v" / written).read_bytes() == b"x" * 10 + b"late"


@pytest.mark.parametrize("level", ["a", "a/b"])
def test_a_folder_swapped_for_a_symlink_leads_nowhere(
    level: str, root: Path, make: Make, store: AudioTree, tmp_path: Path
) -> None:
    """Neither on the look nor, later, on removal; what it leads to has the same names and times."""
    make("a/b/victim.mp3")
    make("honest.mp3")
    planned = plan(store)
    outside = tmp_path / "outside"
    shutil.move(root / level, outside)
    (root / level).symlink_to(outside)
    before = tree_digest(outside)
    result = apply(store, planned)
    assert tree_digest(outside) == before
    assert not (root / "honest.mp3").exists()
    assert [p.code for p in result.problems] == ["not_removed"]
    again = plan(store)
    assert len(again.actions) == 0
    assert tree_digest(outside) == before


def test_what_is_no_regular_file_is_left_and_told(
    root: Path, make: Make, store: AudioTree, tmp_path: Path
) -> None:
    victim = tmp_path / "victim.mp3"
    victim.write_bytes(b"keep")
    os.utime(victim, (0, 0))
    (root / "link.mp3").symlink_to(victim)
    (root / "folder").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.mp3")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(root / "socket.mp3"))
    make("folder.mp3/deep.mp3")
    make("old.mp3")
    make("old2.mp3")
    (root / "old.json").symlink_to(victim)
    for name in ("link.mp3", "pipe.mp3", "socket.mp3", "old.json"):
        os.utime(root / name, (0, 0), follow_symlinks=False)
    planned = plan(store)
    assert [action.file for action in planned.actions] != []
    assert told(planned) == {("odd_file", f"{what}.mp3") for what in ("link", "pipe", "socket")}
    apply(store, planned)
    assert victim.read_bytes() == b"keep"
    left = {path.name for path in root.iterdir()} - {OWN_FOLDER}
    assert left == {"link.mp3", "pipe.mp3", "socket.mp3", "folder", "folder.mp3", "old.json"}
    assert os.listdir(root / "folder.mp3") == []


def test_hard_links_elsewhere_free_nothing(root: Path, make: Make, store: AudioTree) -> None:
    os.link(make("old.mp3"), root / "backup")
    result = run(store)
    assert (result.removed_count, result.freed_bytes) == (1, 0)
    assert names(root) == {"backup"}


def test_mount_points_below_are_not_looked_into(
    root: Path, make: Make, store: AudioTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("a/mounted/old.mp3")
    make("a/old.mp3")
    mounts = Mounts(below=frozenset({"a/mounted"}))
    monkeypatch.setattr(tree_module, "mounts_of", lambda _: mounts)
    result = run(store)
    assert names(root) == {"a/mounted/old.mp3"}
    assert told(result.plan) == {("mount_point", "a/mounted")}


def test_folders_too_deep_are_told_and_left(root: Path, make: Make, store: AudioTree) -> None:
    deep = "/".join(["d"] * 100)
    make(f"{deep}/old.mp3")
    make("d/d/old.mp3")
    result = run(store)
    assert names(root) == {f"{deep}/old.mp3"}
    assert {code for code, _ in told(result.plan)} == {"too_deep"}


@pytest.mark.parametrize("remove", [True, False])
def test_only_folders_that_the_run_emptied_are_removed(
    root: Path, make: Make, *, remove: bool
) -> None:
    make("emptied/deeper/old.mp3")
    make("emptied/deeper/old.pho")
    make("half/old.mp3")
    make("half/new.mp3", 1)
    make("foreign/old.mp3")
    make("foreign/x.yaml", 90)
    (root / "was-empty").mkdir()
    store = AudioTree(root, audio_suffixes=SUFFIXES, remove_empty_dirs=remove)
    run(store)
    store.close()
    assert names(root) == {"half/new.mp3", "foreign/x.yaml"}
    folders = {path.name for path in root.iterdir()} - {OWN_FOLDER}
    assert folders == {"half", "foreign", "was-empty"} | (set() if remove else {"emptied"})


def crashed(store: AudioTree, targets: Sequence[FileTarget]) -> None:
    """Stage, and then nothing more, as a run that is killed there leaves it."""

    class Killed(BaseException):
        pass

    def die(_: float) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("narration_cleanup.stores.cache.local.staging.time.sleep", die)
        with pytest.raises(Killed):
            store.remove(targets)


NAMES = [
    "old.mp3",
    "a/old.mp3",
    "a/b/50%2Foff.mp3",
    "100%.mp3",
    "a%2Fb.mp3",
    "ü/ñ %25.mp3",
    f"{MARK}x.mp3",
]


@pytest.mark.parametrize("folders_gone", [False, True])
def test_what_a_killed_run_had_staged_is_put_back_into_its_folder(
    root: Path, make: Make, store: AudioTree, *, folders_gone: bool
) -> None:
    for name in NAMES:
        make(name)
        make(name.replace(".mp3", ".json"))
    before = {name: (root / name).stat().st_mtime_ns for name in names(root)}
    crashed(store, [FileTarget(n, sidecars=(n.replace(".mp3", ".json"),)) for n in NAMES])
    assert names(root) == set()
    if folders_gone:
        for folder in ("a", "ü"):
            shutil.rmtree(root / folder)
    assert store.recover() == len(before)
    assert {name: (root / name).stat().st_mtime_ns for name in names(root)} == before
    assert os.listdir(root / OWN_FOLDER) == []
    assert run(store).removed_count == len(NAMES)
    assert names(root) == set()


def test_what_an_earlier_version_had_staged_is_put_back_without_a_mark(
    root: Path, make: Make, store: AudioTree
) -> None:
    """Its sidecars with it; what is none of either is left where it is."""
    staged = {"a/old.MP3", "a/old.MP3.json", "a/old.vtt", "50%.wav", ".ogg"}
    for name in staged:
        make(f"{OWN_FOLDER}/{name.replace('%', '%25').replace('/', '%2F')}")
    others = {"old.txt", "a%2Fold.yaml", "index.pho", "run.lock", "notes"}
    for name in others:
        make(f"{OWN_FOLDER}/{name}")
    with store.survey() as survey:
        (problem,) = survey.problems
        assert "5 files" in problem.message
    assert store.recover() == len(staged)
    assert names(root) == staged
    assert set(os.listdir(root / OWN_FOLDER)) == others
    assert list(plan(store).problems) == []


def test_killed_as_it_puts_back_what_an_earlier_version_staged_the_next_one_goes_on(
    root: Path, make: Make, store: AudioTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sidecar without a mark is known by its audio, which therefore waits until last."""
    for name in ("old.json", "old.mp3", "old.vtt"):
        make(f"{OWN_FOLDER}/{name}")
    put_back: list[str] = []
    link, listed = os.link, os.listdir

    def audio_first(folder: int) -> list[str]:
        return sorted(listed(folder), key=lambda name: not name.endswith(".mp3"))

    def first_one(src: str, dst: str, **folders: Any) -> None:
        if put_back:
            raise KeyboardInterrupt
        put_back.append(dst)
        link(src, dst, **folders)

    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", audio_first)
        patch.setattr(os, "link", first_one)
        with pytest.raises(KeyboardInterrupt):
            store.recover()
    assert put_back != ["old.mp3"]
    assert store.recover() == 2
    assert names(root) == {"old.json", "old.mp3", "old.vtt"}


def test_a_newer_file_is_not_put_back_over(root: Path, make: Make, store: AudioTree) -> None:
    make("a/old.mp3")
    crashed(store, [FileTarget("a/old.mp3")])
    fresh = make("a/old.mp3", 0, size=77)
    assert store.recover() == 0
    assert fresh.stat().st_size == 77
    assert os.listdir(root / OWN_FOLDER) == []


@pytest.mark.parametrize("name", ["..%2Fescaped.mp3", "a%2F..%2F..%2Fescaped.mp3", "%2Fabs.mp3"])
def test_a_planted_name_in_the_staging_folder_leads_nowhere(
    name: str, root: Path, store: AudioTree, tmp_path: Path
) -> None:
    (root / OWN_FOLDER).mkdir()
    (root / OWN_FOLDER / name).write_bytes(b"x")
    assert store.recover() == 0
    with store.locked():
        assert [problem.code for problem in plan(store).problems] == ["not_put_back"]
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}
    assert os.listdir(root / OWN_FOLDER) == [name]


def _a_dangling_link(place: Path) -> None:
    place.symlink_to("nowhere")


@pytest.mark.parametrize("make_other", [Path.mkdir, _a_dangling_link])
def test_what_is_set_aside_waits_where_something_else_has_its_name(
    root: Path, make: Make, store: AudioTree, make_other: Callable[[Path], None]
) -> None:
    """It may be the only copy: only a newer file takes its place."""
    make("a/old.mp3", 1)
    crashed(store, [FileTarget("a/old.mp3")])
    make_other(root / "a" / "old.mp3")
    assert store.recover() == 0
    assert (root / OWN_FOLDER / f"{MARK}a%2Fold.mp3").stat().st_size == 10
    with store.locked():
        (problem,) = (p for p in plan(store).problems if p.code == "not_put_back")
    assert str(root / OWN_FOLDER) in problem.message


def test_a_put_back_does_not_follow_a_symlink(
    root: Path, make: Make, store: AudioTree, tmp_path: Path
) -> None:
    make("a/old.mp3")
    crashed(store, [FileTarget("a/old.mp3")])
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "a").rmdir()
    (root / "a").symlink_to(outside)
    assert store.recover() == 0
    assert os.listdir(outside) == []
    assert os.listdir(root / OWN_FOLDER) == [f"{MARK}a%2Fold.mp3"]


def test_names_of_any_bytes_go_like_others(root: Path, make: Make, store: AudioTree) -> None:
    for name in (b"\xff\xfe.mp3", b"\xe2\x80\xae.mp3", b"new\nline.mp3", b" .mp3", b"%.mp3"):
        make(os.fsdecode(b"f/" + name))
    make("f/stays.mp3", 1)
    assert run(store).removed_count == 5
    assert names(root) == {"f/stays.mp3"}


@pytest.mark.parametrize("name", ["/".join(["d" * 120] * 3) + "/old", "d" * (255 - len(".mp3"))])
def test_a_name_too_long_to_be_staged_is_removed_in_place(
    root: Path, make: Make, store: AudioTree, name: str
) -> None:
    make(f"{name}.mp3")
    make(f"{name}.pho")
    result = run(store)
    assert (result.removed_count, result.freed_bytes) == (1, 20)
    assert names(root) == set()


def test_a_full_disk_is_cleaned_in_place(
    root: Path, make: Make, store: AudioTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/old.mp3", "a/old.json"):
        make(name)

    def full(own: StagingDir) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(StagingDir, "descriptor", full)
    result = run(store)
    assert (result.removed_count, result.freed_bytes) == (1, 20)
    assert names(root) == set()


def test_files_that_vanish_are_done_and_free_nothing(
    root: Path, make: Make, store: AudioTree
) -> None:
    make("a/old.mp3")
    make("b/old.mp3")
    planned = plan(store)
    (root / "a/old.mp3").unlink()
    shutil.rmtree(root / "b")
    result = apply(store, planned)
    assert [outcome for _, outcome, _ in result.outcomes] == [Outcome.DONE] * 2
    assert result.freed_bytes == 0


def test_an_answer_for_each_target_in_order(root: Path, make: Make, store: AudioTree) -> None:
    make("a.mp3")
    make("b.mp3")
    answers = store.remove([FileTarget(name) for name in ("a.mp3", "gone.mp3", "b.mp3")])
    gone = Removal(Outcome.DONE, note="its file was already gone")
    assert list(answers) == [Removal(Outcome.DONE, 10), gone, Removal(Outcome.DONE, 10)]


@pytest.mark.parametrize("place", ["/", "~", "missing", "file"])
def test_a_wrong_place_is_refused(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = Path(place).expanduser() if place in "/~" else tmp_path / place
    with pytest.raises(ConfigError):
        AudioTree(path, audio_suffixes=SUFFIXES)


def test_a_folder_without_audio_is_no_fault(root: Path, make: Make, store: AudioTree) -> None:
    make("readme.txt", 400)
    before = tree_digest(root)
    result = run(store)
    assert result.removed_count == 0
    assert list(result.plan.problems) == []
    assert tree_digest(root) == before


def test_many_files_come_in_bounded_batches(make: Make, store: AudioTree) -> None:
    for number in range(5_000):
        make(f"{number % 7}/{number}.mp3", 1, size=1)
    with store.survey() as survey:
        sizes = [len(batch.entries) for batch in survey.batches()]
    assert sum(sizes) == 5_000
    assert max(sizes) <= 4_096


def test_audio_made_anew_while_it_is_removed_survives(
    root: Path, make: Make, store: AudioTree
) -> None:
    """A service renews narrations, audio and phonemes, in the very moments that they go."""
    stems = [f"v{number % 5}/{number}" for number in range(300)]
    for _ in range(3):
        for stem in stems:
            make(f"{stem}.wav")
            make(f"{stem}.pho")
        renewed = set(random.Random(1).sample(stems, 150))
        begun = threading.Event()

        def renew(renewed: set[str] = renewed, begun: threading.Event = begun) -> None:
            begun.set()
            for stem in sorted(renewed):
                (root / f"{stem}.wav").write_bytes(b"fresh")
                (root / f"{stem}.pho").write_bytes(b"fresh")

        planned = plan(store)
        service = threading.Thread(target=renew)
        service.start()
        begun.wait()
        apply(store, planned)
        service.join()
        lost = [
            f"{stem}{suffix}"
            for stem in renewed
            for suffix in (".wav", ".pho")
            if not (path := root / f"{stem}{suffix}").exists() or path.read_bytes() != b"fresh"
        ]
        assert lost == []
        assert not any((root / f"{stem}.wav").exists() for stem in set(stems) - renewed)


def test_of_a_large_folder_each_file_is_met_once(root: Path, store: AudioTree) -> None:
    """Enough names for many reads of the directory."""
    names = {f"{number:032d}.mp3" for number in range(6_000)}
    for name in names:
        (root / name).touch()
    with store.survey() as survey:
        found = [entry.file for batch in survey.batches() for entry in batch.entries]
    assert len(found) == len(names)
    assert set(found) == names


def test_each_folder_is_scanned_once_and_few_sidecars_cost_few_look_ups(
    make: Make, store: AudioTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        make(f"{number}.mp3", age=1)
        make(f"sub/{number}.mp3", age=1)
    for name in ("7.json", "sub/8.vtt", "sub/of no audio.txt", "old.mp3", "old.pho"):
        make(name, age=10, size=500)
    scans, look_ups = Mock(wraps=os.scandir), Mock(wraps=os.stat)
    monkeypatch.setattr(os, "scandir", scans)
    monkeypatch.setattr(os, "stat", look_ups)
    planned = plan(store)
    assert scans.call_count == 2
    assert look_ups.call_count < 60
    [action] = planned.actions
    assert action.kind is Kind.REMOVE_ENTRY
    assert (action.file, action.sidecars) == ("old.mp3", ("old.pho",))
    assert planned.totals.total_size_bytes == 200 * 10 + 4 * 500
    left = plan_after(planned)
    assert left is not None
    assert left.totals.total_size_bytes == 200 * 10 + 2 * 500


def test_sidecars_are_found_whenever_their_suffix_is_met(
    make: Make, store: AudioTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_GROUP", 1)
    suffixes = {"a": ".json", "b": ".VTT", "c": ".srt", "d": ".txt", "e": ".pho"}
    for stem, suffix in suffixes.items():
        make(f"{stem}.mp3", age=10)
        make(f"{stem}{suffix}", age=10)
    planned = plan(store)
    found = {action.file: action.sidecars for action in planned.actions}
    assert found == {f"{stem}.mp3": (f"{stem}{suffix}",) for stem, suffix in suffixes.items()}


def test_where_no_sidecar_is_none_is_looked_for(
    make: Make, store: AudioTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        make(f"{number}.mp3", age=10)
    look_ups = Mock(wraps=os.stat)
    monkeypatch.setattr(os, "stat", look_ups)
    assert len(plan(store).actions) == 100
    assert look_ups.call_count < 10


def leftovers(root: Path, make: Make) -> None:
    for contents, old in ((USELESS, 400), (SIDECARS, 400), (KEPT, 400), (FRESH, 0.01)):
        for name, content in contents.items():
            age = 0.5 if old == 400 and not content else old
            path = make(name, age)
            path.write_bytes(content)
            os.utime(path, (NOW - age * DAY,) * 2)


@pytest.mark.parametrize("by_atime", [False, True])
@pytest.mark.parametrize("with_sidecars", [False, True])
def test_leftovers_go_and_what_else_lies_there_stays(
    with_sidecars: bool, by_atime: bool, root: Path, make: Make
) -> None:
    leftovers(root, make)
    policy = {"partial_ttl": DAY, "sidecar_ttl": 7 * DAY if with_sidecars else None}
    store = AudioTree(
        root, audio_suffixes=SUFFIXES, by_atime=by_atime, remove_sidecars=with_sidecars
    )
    planned = plan(store, **policy)
    gone = USELESS.keys() | (SIDECARS.keys() if with_sidecars else set())
    result = apply(store, planned)
    left = {name: (root / name).read_bytes() for name in names(root)}
    everything = USELESS | SIDECARS | KEPT | FRESH
    assert left == {name: each for name, each in everything.items() if name not in gone}
    assert result.freed_bytes == planned.planned_bytes
    reasons = {action.file: action.reason for action in planned.actions}
    assert reasons["empty.mp3"] is reasons["low/EMPTY.Wav"] is Reason.EMPTY
    assert reasons["a.mp3.part"] is reasons["low/.B.WAV.TMP"] is Reason.PARTIAL
    assert reasons["LOUD.MP3"] is Reason.EXPIRED
    if with_sidecars:
        assert {reasons[name] for name in SIDECARS} == {Reason.ORPHAN}
    assert list(result.problems) == []
    assert list(plan(store, **policy).actions) == []
    store.close()


def test_a_suffix_in_capitals_is_known_however_late_it_is_found(root: Path, make: Make) -> None:
    """Files in another folder were looked at before."""
    make(f"a/{temporary(1)}.json", 400)
    make(f"a/{temporary(1)}.wav")
    make(f"b/{temporary(2)}.WAV")
    make(f"b/{temporary(2)}.Vtt", 400)
    with_twin = make(f"c/{temporary(3)}.mp3")
    make(f"c/{temporary(3)}.FlaC", 1)
    shared = make(f"c/{temporary(3)}.json", 400)
    store = AudioTree(root, audio_suffixes=SUFFIXES, remove_sidecars=True)
    run(store, sidecar_ttl=7 * DAY)
    store.close()
    assert not with_twin.exists()
    assert names(root) == {f"c/{temporary(3)}.FlaC", f"c/{shared.name}"}


def test_a_sidecar_stays_whose_audio_came_back(root: Path, make: Make) -> None:
    make(f"{digest(1)}.mp3", 1)
    make(f"{digest(2)}.json", 400)
    store = AudioTree(root, audio_suffixes=SUFFIXES, remove_sidecars=True)
    planned = plan(store, sidecar_ttl=7 * DAY)
    assert [action.file for action in planned.actions] == [f"{digest(2)}.json"]
    make(f"{digest(2)}.MP3", 0)
    make(f"{digest(2)}.mp3", 0)
    (done,) = apply(store, planned).outcomes
    assert done[1] is Outcome.SKIPPED
    assert f"{digest(2)}.json" in names(root)
    store.close()


def test_what_is_kept_keeps_its_leftovers(root: Path, make: Make, store: AudioTree) -> None:
    for name in ("OwnFile_a.mp3", "OwnFile_b.mp3.part", "other.mp3.part"):
        make(name, 400)
    make("OwnFile_empty.mp3", 400, size=0)
    run(store, keep=("OwnFile_*",), partial_ttl=DAY)
    assert names(root) == {"OwnFile_a.mp3", "OwnFile_b.mp3.part", "OwnFile_empty.mp3"}


def test_half_written_audio_counts_where_room_is_needed(
    root: Path, make: Make, store: AudioTree
) -> None:
    half = make("half.mp3.part", 0.5, size=600)
    arrived = half.stat().st_ctime
    make("a.mp3", 2, size=500)
    make("b.mp3", 1, size=500)
    limits = CachePolicy(ttl=400 * DAY, evict_above=1_200, evict_to=1_000, partial_ttl=400 * DAY)
    with store.survey() as survey:
        apply(store, plan_cache(survey, limits, arrived + 2 * 3600))
    assert names(root) == {"a.mp3", "b.mp3"}
