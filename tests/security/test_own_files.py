"""The tool's own files are opened only where nobody else can have put them there."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.files import make_folder, way_to
from narration_cleanup.report.history import FILE_NAME, read_history
from narration_cleanup.report.history.store import open_history
from narration_cleanup.report.metrics import metrics_text, write_metrics
from narration_cleanup.report.run_record import Counters, RunRecord
from narration_cleanup.systemd.discover import check_instance
from tests.security.conftest import unwaited


def _history(state: Path) -> list[str]:
    """What is reported when the history of ``state`` is opened for a run."""
    warnings = list[str]()
    history = open_history(state, warn=warnings.append, at=0.0)
    if history is not None:
        history.close()
    return warnings


def _link(file: Path) -> None:
    file.symlink_to(file.parent / "elsewhere.db")


def _second_name(file: Path) -> None:
    other = file.parent / "other-program.db"
    other.write_bytes(b"")
    file.hardlink_to(other)


@pytest.mark.parametrize("make", [_link, os.mkfifo, os.mkdir, _second_name])
@pytest.mark.parametrize("ending", ["", "-journal", "-wal", "-shm"])
def test_a_history_that_is_no_file_of_ours_is_a_warning_and_stays(
    tmp_path: Path, make: Callable[[Path], None], ending: str
) -> None:
    state = tmp_path / "state"
    assert _history(state) == []
    file = state / f"{FILE_NAME}{ending}"
    file.unlink(missing_ok=True)
    make(file)
    before = {path.name: path.lstat() for path in state.iterdir()}
    (warning,) = _history(state)
    assert str(file) in warning
    assert "remove it" in warning
    assert {path.name: path.lstat() for path in state.iterdir()} == before


def test_a_folder_that_an_access_list_opens_is_not_trusted(tmp_path: Path) -> None:
    """Its mode looks as that of a folder of this user's own group."""
    state = tmp_path / "state"
    assert _history(state) == []
    nobody = 0xFFFFFFFF
    rights = ((0x01, 7, nobody), (0x02, 7, 4711), (0x04, 5, nobody), (0x10, 7, nobody))
    packed = [struct.pack("<HHI", *right) for right in (*rights, (0x20, 5, nobody))]
    try:
        os.setxattr(state, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(packed))
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    (warning,) = _history(state)
    assert f"{state} is not trusted: others can write to it: chmod go-w it" in warning
    state.chmod(0o755)
    assert _history(state) == []


@pytest.mark.parametrize("ending", ["", "-journal"])
def test_a_look_at_the_history_waits_for_no_pipe(tmp_path: Path, ending: str) -> None:
    state = tmp_path / "state"
    assert _history(state) == []
    file = state / f"{FILE_NAME}{ending}"
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    warnings = list[str]()
    with unwaited(file):
        found = read_history(state, warn=warnings.append)
    assert found is None
    assert len(warnings) == (1 if ending else 0)  # what is not there holds no history


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
def test_a_state_directory_that_others_can_write_to_holds_no_history(
    tmp_path: Path, mode: int
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    (warning,) = _history(state)
    assert ("chmod" in warning) is not bool(mode & stat.S_ISVTX), "never advised for /tmp"
    assert list(state.iterdir()) == []


def test_nor_does_one_below_a_folder_where_it_can_be_exchanged(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    (warning,) = _history(shared / "state")
    assert str(shared) in warning
    assert list(shared.iterdir()) == []


def test_the_state_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert _history(tmp_path / "above" / "state") == []
    finally:
        os.umask(before)
    for folder in (tmp_path / "above", tmp_path / "above" / "state"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_metrics_page_that_is_a_link_stays(tmp_path: Path) -> None:
    page, target = tmp_path / "page.prom", tmp_path / "target"
    target.write_text("precious")
    page.symlink_to(target)
    with pytest.raises(PermissionError, match="not trusted"):
        write_metrics(page, "")
    assert page.is_symlink()
    assert target.read_text() == "precious"


def test_a_folder_is_made_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        make_folder(tmp_path / "metrics", (os.geteuid(), os.getegid()))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "metrics").stat().st_mode) == 0o755


def test_a_way_names_each_link_and_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "link").symlink_to("real/../real")
    names = [place for place, _ in way_to(tmp_path / "link" / "file")]
    assert names[-4:] == [
        tmp_path / "link",
        tmp_path / "real",
        tmp_path / "real",
        tmp_path / "real" / "file",
    ]


def test_what_replaced_a_folder_while_it_was_made_is_not_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who owns the folder above puts a link, or a folder that was there, in the new one's place."""
    (tmp_path / "valuable").mkdir()
    (tmp_path / "valuable" / "file").touch()
    given = list[int]()
    monkeypatch.setattr(os, "fchown", lambda fd, *owner: given.append(fd))
    mkdir = os.mkdir

    def swap_for_link(name: str, mode: int, *, dir_fd: int) -> None:
        mkdir(name, mode, dir_fd=dir_fd)
        os.rmdir(name, dir_fd=dir_fd)
        os.symlink("valuable", name, dir_fd=dir_fd)

    def swap_for_folder(name: str, mode: int, *, dir_fd: int) -> None:
        os.rename("valuable", name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    for name, swap in (("one", swap_for_link), ("two", swap_for_folder)):
        monkeypatch.setattr(os, "mkdir", swap)
        with pytest.raises(OSError, match=r"Not a directory|Too many|was replaced"):
            make_folder(tmp_path / name, (48_611, 48_611))
    assert given == []
    monkeypatch.setattr(os, "mkdir", mkdir)
    make_folder(tmp_path / "three", (48_611, 48_611))
    assert len(given) == 1


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "-x", "a/b", "", "a b"])
def test_an_instance_is_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigError, match="--instance"):
        check_instance(name)
    check_instance("voices-2.b")


def test_control_characters_of_a_history_are_written_out_in_metrics() -> None:
    text = metrics_text(
        RunRecord(),
        Counters(runs={"\x1b]0;owned\x07\r": 1}),
        interval_seconds=1.0,
        limit_bytes=1,
        name='a"b\n',
    )
    assert text.replace("\n", "").isprintable()
    assert r'outcome="\\x1b]0;owned\\x07\\r"' in text
    assert r'cache="a\"b\n"' in text
