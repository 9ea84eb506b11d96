"""What an index calls a file, reduced to a name inside the cache directory, or to none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.cache.directory import Directory
from narration_cleanup.cache.places import Places

SUFFIXES = (".mp3", ".wav")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("service") / "cache" / "narration"
    path.mkdir(parents=True)
    return path


@pytest.fixture(scope="module")
def places(cache: Path) -> Places:
    return Places(Directory(cache), SUFFIXES)


def test_every_way_of_the_service_to_name_a_file_is_understood(places: Places, cache: Path) -> None:
    for path in ("a.mp3", "./a.mp3", "cache/narration/a.mp3", "./cache//narration/a.mp3"):
        assert places.name_of(path) == "a.mp3", path
    assert places.name_of("narration/a.wav") == "a.wav"
    assert places.name_of(f"{cache}/a.mp3") == "a.mp3"
    assert places.name_of(f"{cache}//./a.mp3") == "a.mp3"


def test_a_symbolic_link_to_the_cache_is_the_cache(tmp_path: Path, cache: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(cache)
    through_link = Places(Directory(link), SUFFIXES)
    assert through_link.name_of(f"{link}/a.mp3") == "a.mp3"
    assert through_link.name_of(f"{cache}/a.mp3") == "a.mp3"


@pytest.mark.parametrize(
    "path",
    [
        "",
        ".mp3/",
        "/a.mp3",
        "//a.mp3",
        "../a.mp3",
        "../../victim",
        "../narration/a.mp3",
        "cache/narration/../a.mp3",
        "cache/narration/sub/a.mp3",
        "elsewhere/a.mp3",
        "che/narration/a.mp3",
        "/etc/a.mp3",
        "cache_index.json",
        "cache/narration/cache_index.json",
        "cache/narration/a",
        "a\0.mp3",
        "..",
        ".",
    ],
)
def test_what_leaves_the_cache_or_is_no_audio_has_no_name(places: Places, path: str) -> None:
    assert places.name_of(path) is None


@given(st.text(st.sampled_from("./a\0~ é"), max_size=30), st.sampled_from(["", ".mp3", "/a.mp3"]))
def test_a_name_is_always_one_name(places: Places, path: str, end: str) -> None:
    name = places.name_of(path + end)
    assert name is None or ("/" not in name and name not in ("", ".", "..") and "\0" not in name)
