"""Whoever builds it, wherever and whenever: the same bytes."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import EPOCH, build
from tests.packaging.machine import working_copy
from tests.test_links import broken_links
from tools.deb.build import epoch

pytestmark = pytest.mark.packaging


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another copy: in another folder, its files of another time and other modes."""
    folder = tmp_path_factory.mktemp("another") / "place to build in"
    working_copy(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(path.stat().st_mode & 0o700)
            os.utime(path, (1_234_567_890, 1_234_567_890))
    return folder


def test_without_git_the_time_is_that_of_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive of the sources has the time of its commit on each file."""
    (tmp_path / "pyproject.toml").touch()
    os.utime(tmp_path / "pyproject.toml", (1_234_567_890, 1_234_567_890))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setattr("tools.deb.build.ROOT", tmp_path)
    assert epoch() == 1_234_567_890
    monkeypatch.setenv("PATH", str(tmp_path))  # neither is there a git
    assert epoch() == 1_234_567_890


def test_wheel_and_sdist_are_the_same_wherever_they_are_built(
    checkout: Path, elsewhere: Path, tmp_path: Path
) -> None:
    first = build(checkout, tmp_path / "1", "hatchling", "build", "-d")
    second = build(elsewhere, tmp_path / "2", "hatchling", "build", "-d", umask=0o077)
    assert [path.suffix for path in first] == [".whl", ".gz"][
        :: 1 if first[0].suffix == ".whl" else -1
    ]
    assert [(path.name, path.read_bytes()) for path in first] == [
        (path.name, path.read_bytes()) for path in second
    ]


def test_wheel_and_sdist_hold_manual_pages_and_completions(checkout: Path, tmp_path: Path) -> None:
    built = build(checkout, tmp_path / "dist", "hatchling", "build", "-d")
    (wheel,) = [path for path in built if path.suffix == ".whl"]
    (sdist,) = [path for path in built if path.suffix == ".gz"]
    in_wheel = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    assert in_wheel >= {
        "share/man/man1/narration-cleanup.1",
        "share/man/man5/narration-cleanup.toml.5",
        "share/bash-completion/completions/narration-cleanup",
        "share/zsh/site-functions/_narration-cleanup",
        "share/fish/vendor_completions.d/narration-cleanup.fish",
    }
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (documents,) = tmp_path.glob("*.data/data/share/doc/narration-cleanup")
    check_documents(documents)
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    assert {
        "dev.py",
        "requirements/run.txt",
        "man/narration-cleanup.1",
        "tests/conftest.py",
    } <= names
    assert {member.mtime for member in members} == {int(EPOCH)}


def check_documents(folder: Path) -> None:
    """The documents with pictures, rules, dashboard and examples; every link leads to one."""
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert names >= {
        "docs/pictures/dry-run.svg",
        "monitoring/narration-cleanup.rules.yml",
        "monitoring/narration-cleanup.dashboard.json",
        "examples/fastapi_service.py",
        "deploy/cronjob.yaml",
    }
    for page in folder.rglob("*.md"):
        assert broken_links(page) == [], page


def test_the_debian_package_has_the_documents(deb: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tmp_path)], check=True)
    check_documents(tmp_path / "usr/share/doc/narration-cleanup")


def test_the_debian_package_is_the_same_wherever_it_is_built(
    deb: Path, elsewhere: Path, tmp_path: Path
) -> None:
    (other,) = build(elsewhere, tmp_path, "tools.deb", umask=0o077)
    assert other.name == deb.name
    assert other.read_bytes() == deb.read_bytes()
