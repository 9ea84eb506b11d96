"""What an index calls a file, reduced to a name inside the cache directory, or to none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.stores.cache.local.directory import Directory
from narration_cleanup.stores.cache.paths import MOST_ASKED, PathResolver

SUFFIXES = (".mp3", ".wav")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("service") / "cache" / "narration"
    path.mkdir(parents=True)
    return path


@pytest.fixture(scope="module")
def places(cache: Path) -> PathResolver:
    return PathResolver(Directory(cache), SUFFIXES)


def test_every_way_of_the_service_to_name_a_file_is_understood(
    places: PathResolver, cache: Path
) -> None:
    for path in ("a.mp3", "./a.mp3", "cache/narration/a.mp3", "./cache//narration/a.mp3"):
        assert places.name_of(path) == "a.mp3", path
    assert places.name_of("narration/a.wav") == "a.wav"
    assert places.name_of(f"{cache}/a.mp3") == "a.mp3"
    assert places.name_of(f"{cache}//./a.mp3") == "a.mp3"


def test_a_symbolic_link_to_the_cache_is_the_cache(tmp_path: Path, cache: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(cache)
    through_link = PathResolver(Directory(link), SUFFIXES)
    assert through_link.name_of(f"{link}/a.mp3") == "a.mp3"
    assert through_link.name_of(f"{cache}/a.mp3") == "a.mp3"


def test_the_folder_is_known_by_its_inode_whatever_it_is_called(
    tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "alias").symlink_to(cache.parent)
    (tmp_path / "other").mkdir()
    given = tmp_path / "app" / ".." / "alias" / "narration"
    for places in (
        PathResolver(Directory(cache), SUFFIXES),
        PathResolver(Directory(given), SUFFIXES),
    ):
        assert places.name_of(f"{tmp_path}/alias/narration/a.mp3") == "a.mp3"
        assert places.name_of(f"{tmp_path}/app/../alias/narration/a.mp3") == "a.mp3"
        assert places.name_of(f"{cache}/../narration/a.mp3") == "a.mp3"
        assert places.name_of(f"{tmp_path}/app/../other/a.mp3") is None
        assert places.name_of(f"{tmp_path}/alias/../narration/a.mp3") is None


def test_a_relative_path_with_dots_is_the_one_that_was_given(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache.parent.parent / "app").mkdir()
    monkeypatch.chdir(cache.parent.parent / "app")
    places = PathResolver(Directory(Path("../cache/narration")), SUFFIXES)
    assert places.name_of("../cache/narration/a.mp3") == "a.mp3"
    assert places.name_of("../narration/a.mp3") is None


def test_few_folders_are_asked_about_and_each_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def note(_: Directory, folder: str) -> bool:
        asked.append(folder)
        return False

    monkeypatch.setattr(Directory, "is_also", note)
    places = PathResolver(Directory(cache), SUFFIXES)
    for number in range(100):
        assert places.name_of(f"/elsewhere/{number % 50}/a.mp3") is None
    assert asked == [f"/elsewhere/{number}" for number in range(MOST_ASKED)]


def test_other_names_of_the_folder_are_those_that_are_set(cache: Path) -> None:
    others = ("/app/cache/narration", r"C:\tts\cache", "data/audio/", r"\\nas\tts")
    places = PathResolver(Directory(cache), SUFFIXES, others)
    for path in (
        "/app/cache/narration/a.mp3",
        "/app//cache/./narration/a.mp3",
        r"C:\tts\cache\a.mp3",
        "C:/tts/cache/a.mp3",
        "data/audio/a.mp3",
        r"\\nas\tts\a.mp3",
    ):
        assert places.name_of(path) == "a.mp3", path
    for path in ("/app/cache/a.mp3", "/app/cache/narration/b/a.mp3", "audio/a.mp3"):
        assert places.name_of(path) is None, path


def test_a_backslash_is_a_separator_unless_a_file_has_that_name(
    places: PathResolver, cache: Path
) -> None:
    assert places.name_of(r"cache\narration\a.mp3") == "a.mp3"
    assert places.name_of(r".\cache/narration\a.mp3") == "a.mp3"
    mixed = [f"cache/narration/{name}" for name in ("a.mp3", r"narration\b.mp3", "c.mp3")]
    assert places.names_of(mixed) == ["a.mp3", None, "c.mp3"]
    literal = r"narration\literal.mp3"
    assert places.name_of(literal) == "literal.mp3"
    (cache / literal).touch()
    assert places.name_of(literal) == literal
    assert places.name_of(f"{cache}/{literal}") == literal


@pytest.mark.parametrize(
    "path",
    [
        "",
        r"elsewhere\a.mp3",
        r"D:\cache\narration\a.mp3",
        r"\a.mp3",
        r"..\narration\a.mp3",
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
def test_what_leaves_the_cache_or_is_no_audio_has_no_name(places: PathResolver, path: str) -> None:
    assert places.name_of(path) is None


@given(st.text(st.sampled_from("./\\a\0~ é"), max_size=30), st.sampled_from(["", ".mp3", "/a.mp3"]))
def test_a_name_is_always_one_name(places: PathResolver, path: str, end: str) -> None:
    name = places.name_of(path + end)
    assert name is None or ("/" not in name and name not in ("", ".", "..") and "\0" not in name)
