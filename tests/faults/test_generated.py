"""Generated indexes, most of them hostile: nothing outside the cache is ever touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults.figures import Figures
from tests.faults.server import ToolServer
from tests.samples import EntrySpec, MadeEntry, make_cache, read_index, tree_digest, write_index

_NOW = datetime.now(UTC)
_OLD = (_NOW - timedelta(days=30)).replace(tzinfo=None).isoformat()
_ENTRIES_AT_ONCE = 50

_pieces = st.sampled_from(
    [
        "..",
        ".",
        "",
        "/",
        "//",
        "cache",
        "narration",
        "outside",
        "victim.mp3",
        "link",
        "sub",
        "inside.mp3",
        "symlink.mp3",
        "own-0.mp3",
        "own-1.mp3",
        "cache_index.json",
        ".narration-cleanup",
        "lock",
        "~",
        "$HOME",
        "%2e%2e",
        "..\\..\\victim.mp3",
        "\x00",
        "victim.mp3\x00.mp3",
        "\n",
        "\u202e3pm",
        "．．",
        "e\u0301",
        "\u00e9",
        "x" * 300,
        "-rf",
        "*",
        "file:",
    ]
) | st.text(max_size=12)

_paths = st.builds(
    lambda start, pieces, glue: start + glue.join(pieces),
    st.sampled_from(["", "/", "./", "../", "cache/narration/", "@ROOT@/", "@ROOT@/outside/"]),
    st.lists(_pieces, min_size=1, max_size=6),
    st.sampled_from(["/", "/", "/", "//", "/./", "\\", ""]),
)

_malformed = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
_odd_values = (
    _malformed | st.lists(_malformed, max_size=3) | st.dictionaries(st.text(max_size=4), _malformed)
)

_fields = st.fixed_dictionaries(
    {
        "narration_id": st.text(max_size=8),
        "file_path": _paths,
        "created_at": st.just(_OLD),
        "last_accessed": st.just(_OLD),
        "file_size": st.integers(min_value=0, max_value=10_000),
        "variant_id": st.text(max_size=8),
        "voice_style": st.text(max_size=8),
    }
)


@st.composite
def _members(draw: st.DrawFn) -> object:
    """An entry of the right shape with any path; now and then of a wrong one."""
    fields: dict[str, object] = dict(draw(_fields))
    if draw(st.integers(0, 9)) == 0:
        name = draw(st.sampled_from([*fields, "extra"]))
        fields[name] = draw(_odd_values)
    if draw(st.integers(0, 19)) == 0:
        del fields[draw(st.sampled_from(sorted(fields)))]
    return draw(_odd_values) if draw(st.integers(0, 29)) == 0 else fields


_indexes = st.lists(
    st.tuples(st.text(min_size=1, max_size=20), _members()),
    min_size=_ENTRIES_AT_ONCE // 2,
    max_size=_ENTRIES_AT_ONCE,
    unique_by=lambda member: member[0],
)


class _Trap:
    """A cache with all that a path might lead to, around it and in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / "cache" / "narration"
        self.outside = root / "outside"
        self.live: tuple[MadeEntry, ...] = ()

    def lay(self) -> None:
        """Make it all anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        cache = make_cache(
            self.directory, now=_NOW, entries=[EntrySpec(age=timedelta(days=1)) for _ in range(3)]
        )
        self.live = cache.entries
        self.outside.mkdir()
        for folder in (self.outside, self.root, self.root / "cache"):
            for name in ("victim.mp3", "own-0.mp3", "inside.mp3"):
                _audio(folder / name)
        for number in range(3):
            _audio(self.directory / f"own-{number}.mp3")
        (self.directory / "sub").mkdir()
        _audio(self.directory / "sub" / "inside.mp3")
        (self.directory / "link").symlink_to(self.outside)
        (self.directory / "symlink.mp3").symlink_to(self.outside / "victim.mp3")

    def untouchable(self) -> dict[str, str]:
        """A hash of everything that no index may lead to."""
        inside = self.directory.relative_to(self.root)
        found = {
            name: line
            for name, line in tree_digest(self.root).items()
            if name != str(inside) and not name.startswith(f"{inside}/")
        }
        for name in ("sub", "link", "symlink.mp3"):
            found[name] = str(os.lstat(self.directory / name).st_ino)
        for entry in self.live:
            found[entry.name] = (self.directory / entry.name).read_bytes().hex()
        return {**found, **tree_digest(self.directory / "sub")}


def _audio(path: Path) -> None:
    path.write_bytes(b"not to be touched")
    os.utime(path, (0, 0))


def _check(server: ToolServer, trap: _Trap, members: list[tuple[str, object]]) -> None:
    """One generated index: run over it, and compare everything."""
    trap.lay()
    text = json.dumps(dict(members)).replace("@ROOT@", str(trap.root))
    generated = {**json.loads(text), **read_index(trap.directory / "cache_index.json")}
    write_index(trap.directory / "cache_index.json", generated)
    before = trap.untouchable()
    arguments = ["run", "--json", "--cache-dir", str(trap.directory)]
    environment = {"NARRATION_CLEANUP_STATE_DIR": str(trap.root.parent / "state")}
    run = server.run(arguments, trap.root.parent, environment)
    assert run.code in (0, 1, 3), run.said
    assert trap.untouchable() == before
    left = json.loads((trap.directory / "cache_index.json").read_text())
    assert list(left) == [key for key in generated if key in left]
    assert json.dumps(left) == json.dumps({key: generated[key] for key in left})
    for key in generated.keys() - left.keys():
        name = Path(generated[key]["file_path"]).name
        there = os.path.lexists(trap.directory / name)  # False also for what cannot be a name
        assert not there or name in {entry.name for entry in trap.live}


def _check_many(server: ToolServer, folder: Path, indexes: int) -> int:
    """As many generated indexes; how many entries that were."""
    trap = _Trap(folder / "root")
    entries = 0

    @settings(
        max_examples=indexes,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # shrinking runs of a process takes minutes
        suppress_health_check=list(HealthCheck),
    )
    @given(_indexes)
    def check(members: list[tuple[str, object]]) -> None:
        nonlocal entries
        entries += len(members)
        _check(server, trap, members)

    check()
    return entries


def test_some_generated_indexes(server: ToolServer, fast_path: Path) -> None:
    assert _check_many(server, fast_path, 12) > 250


@pytest.mark.faults
def test_many_generated_indexes(
    server: ToolServer, tmp_path: Path, figures: Figures, tries: Callable[[int, int], int]
) -> None:
    indexes = tries(120, 2_800)
    entries = _check_many(server, tmp_path, indexes)
    figures.record(
        22,
        "a generated entry, its path most often hostile",
        entries,
        0,
        f"in {indexes:,} indexes, with a hash of everything outside the cache",
    )
    assert entries > indexes * _ENTRIES_AT_ONCE // 2
