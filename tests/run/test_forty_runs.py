"""Forty timed runs in a row, good and bad: what a receiver gets is what is news, and no more."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narration_cleanup.cli.app import app
from narration_cleanup.core import deadline
from tests.receiver import Receiver, receiver

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
EVERY = timedelta(hours=6)
KINDS = ["good"] * 2 + ["bad file", "good"] + ["bad file"] * 3 + ["good"] + ["torn"] * 30
KINDS += ["good"] * 2
CODES = {"good": 0, "bad file": 0, "torn": 1}
NEW = (2, 4)
"""The runs that find the bad file where the one before did not are partial; no later one, since
nothing can be done."""
MESSAGES = {
    8: "needs attention (failed)",
    36: "still needs attention (failed)",
    38: "is well again (success)",
}
"""By the number of the run after which they are sent; the 36th is a week after the eighth."""


@pytest.fixture
def hears() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def test_exactly_the_messages_and_pings_that_are_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hears: Receiver
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"audio")
    monkeypatch.setenv("NARRATION_CACHE_DIR", str(cache))
    monkeypatch.setenv("NARRATION_CLEANUP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NARRATION_ALERTS_URLS", hears.url("m", "json"))
    monkeypatch.setenv("NARRATION_ALERTS_PING_URL", hears.url("p"))
    monkeypatch.setattr(deadline, "_SETTLED_WITHIN", 0.02)  # a torn index is waited for
    expected = []
    for number, kind in enumerate(KINDS):
        prepare(cache, kind, tmp_path / "elsewhere")
        monkeypatch.setattr(time, "time", (BEGIN + number * EVERY).timestamp)
        done = CliRunner().invoke(app, ["run", "-q", "--ignore-clock"])
        code = 3 if number in NEW else CODES[kind]
        assert done.exit_code == code, (number, done.output)
        expected += ["/p/start", "/p/fail" if code else "/p"]
        expected += ["/m"] if number in MESSAGES else []
    assert len(KINDS) == 40
    assert hears.paths == expected
    sent = [json.loads(body)["title"] for path, body in hears.got if path == "/m"]
    assert [title.partition(": ")[2] for title in sent] == list(MESSAGES.values())
    assert (tmp_path / "elsewhere").read_bytes() == b"audio"


def prepare(cache: Path, kind: str, elsewhere: Path) -> None:
    """The cache as a run of that kind finds it."""
    index, audio = cache / "cache_index.json", cache / "a.mp3"
    audio.unlink(missing_ok=True)
    entry = {
        "narration_id": "a",
        "file_path": str(audio),
        "created_at": (BEGIN - timedelta(days=30)).isoformat(),
        "last_accessed": (BEGIN - timedelta(days=30)).isoformat(),
        "file_size": 5,
        "variant_id": "a",
        "voice_style": "calm",
    }
    texts = {"good": "{}", "torn": "", "bad file": json.dumps({"a" * 64: entry})}
    index.write_text(texts[kind])
    if kind == "bad file":
        audio.symlink_to(elsewhere)
