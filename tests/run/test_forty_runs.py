"""Timed runs in a row, good and bad: what a receiver gets is what is news, and no more."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from narration_cleanup.core import deadline
from tests.receiver import Receiver, receiver

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
EVERY = timedelta(hours=6)
NAMES = {"good": "", "a": "a", "a b": "ab", "torn": "a", "refused": "a"}
"""The bad files that each kind of run finds; `new` finds one that no run before it found."""
FORTY = [
    ("good", 0, ""),
    ("a", 3, ""),  # the first run that finds a bad file is partial
    ("torn", 1, "needs attention (failed)"),
    ("a", 0, "is well again (success)"),  # no later one is, since nothing can be done
    ("good", 0, ""),
    ("a", 3, ""),  # it was gone in between
    ("a b", 3, "needs attention (partial)"),  # the second in a row, by another file
    ("a b", 0, "is well again (success)"),
    ("refused", 4, "needs attention (refused)"),
    *islice(cycle([("torn", 1, ""), ("refused", 4, ""), ("new", 3, ""), ("new", 3, "")]), 27),
    ("torn", 1, "still needs attention (failed)"),  # a week after the eighth
    ("new", 3, ""),
    ("good", 0, "is well again (success)"),
    ("good", 0, ""),
]
_WEEK = [*[("new", 3, ""), ("torn", 1, ""), ("refused", 4, "")] * 9]
THIRTY_DAYS = [
    *[("good", 0, "")] * 3,
    ("torn", 1, "needs attention (failed)"),
    *[*_WEEK, ("new", 3, "still needs attention (partial)")] * 2,
    *[*_WEEK, ("torn", 1, "still needs attention (failed)")],
    *_WEEK[:10],
    ("good", 0, "is well again (success)"),
    *[("good", 0, "")] * 21,
]


@pytest.fixture
def hears() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.mark.parametrize("runs", [FORTY, THIRTY_DAYS], ids=["forty", "thirty-days"])
def test_exactly_the_messages_and_pings_that_are_news(
    fast_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hears: Receiver,
    runs: list[tuple[str, int, str]],
) -> None:
    assert len(runs) == (40 if runs is FORTY else 120)
    cache = fast_path / "cache"
    cache.mkdir()
    (fast_path / "elsewhere").write_bytes(b"audio")
    monkeypatch.setenv("NARRATION_CACHE_DIR", str(cache))
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(fast_path / "state"))
    monkeypatch.setenv("NARRATION_ALERTS_URLS", hears.url("m", "json"))
    monkeypatch.setenv("NARRATION_ALERTS_PING_URL", hears.url("p"))
    monkeypatch.setattr(deadline, "_SETTLED_WITHIN", 0.02)  # a torn index is waited for
    expected, titles = [], []
    for number, (kind, code, message) in enumerate(runs):
        prepare(cache, NAMES.get(kind, [f"new-{number}"]), fast_path / "elsewhere")
        if kind == "torn":
            (cache / "cache_index.json").write_text("")
        monkeypatch.setattr(time, "time", (BEGIN + number * EVERY).timestamp)
        more = ["--max-delete", "0"] if kind == "refused" else []
        done = CliRunner().invoke(app, ["run", "-q", "--ignore-clock", *more])
        assert done.exit_code == code, (number, kind, done.output)
        expected += ["/p/start", "/p/fail" if code else "/p", *(["/m"] if message else [])]
        titles += [message] if message else []
        sent = [json.loads(body)["title"] for path, body in hears.got if path == "/m"]
        assert hears.paths == expected, (number, kind, sent)
        assert [title.partition(": ")[2] for title in sent] == titles
    assert (fast_path / "elsewhere").read_bytes() == b"audio"


def prepare(cache: Path, names: str | list[str], elsewhere: Path) -> None:
    """The cache with an expired entry, and one for each bad file: a link to what lies elsewhere."""
    for audio in cache.glob("*.mp3"):
        audio.unlink()
    created = (BEGIN - timedelta(days=30)).isoformat()
    index = {}
    (cache / "-.mp3").write_bytes(b"audio")
    os.utime(cache / "-.mp3", (BEGIN.timestamp() - 30 * 86_400,) * 2)
    for name in ["-", *names]:
        if name != "-":
            (cache / f"{name}.mp3").symlink_to(elsewhere)
        index[name * 64] = {
            "narration_id": name,
            "file_path": str(cache / f"{name}.mp3"),
            "created_at": created,
            "last_accessed": created,
            "file_size": 5,
            "variant_id": "a",
            "voice_style": "calm",
        }
    (cache / "cache_index.json").write_text(json.dumps(index))
