"""The tables of known programs, made from the layouts and the tables that the tests clean."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from narration_cleanup.settings import BY_NAME
from narration_cleanup.settings.known_programs import PROGRAMS, Program
from tests.layouts import CACHES, NOW, OLD
from tests.queues import QUEUES, SHARED

BEGIN, END = "<!-- known programs: made by `python3 dev.py docs` -->", "<!-- end -->"
_DAY = 86_400
_PLACES = (
    (r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "(uuid)"),
    (r"[0-9a-f]{32,64}", "(hash)"),
    (r"\d{4}-\d\d-\d\d", "(day)"),
    (r"(?<=tmp)[0-9a-f]{8}", "(any)"),
    (r"(?<![a-z])\d{6,}", "(time)"),
    (r"(?<=tts_)\d+", "(number)"),
)


def with_layouts(text: str) -> str:
    """A document with the tables between their marks, if it has them."""
    if BEGIN not in text:
        return text
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return "\n".join([f"{before}{BEGIN}", "", *_caches(), "", *_queues(), "", f"{END}{after}"])


def _caches() -> Iterator[str]:
    yield "| name | cache of | removed | kept | what to know |"
    yield "|---|---|---|---|---|"
    usual = PROGRAMS["narration"]
    yield (
        f"| `narration` | {usual.title} | entries and audio older than 7 days | all else | "
        f"{usual.why} |"
    )
    for name, lay_out in CACHES.items():
        with tempfile.TemporaryDirectory() as folder:
            removed, remains = lay_out(Path(folder))
            kept = [
                each
                for each in remains
                if (Path(folder) / each).stat().st_mtime == NOW - OLD * _DAY
            ]
        program = PROGRAMS[name]
        days = program.settings.get("cache.ttl_days", BY_NAME["cache.ttl_days"].default)
        what = f"{_patterns(removed)} older than {days:g} days"
        what = what.replace("older than 1 days", "older than a day")
        mine = "".join(f", {each}" for each in [_patterns(kept)] if kept)
        yield f"| `{name}` | {program.title} | {what} | what is younger{mine} | {program.why} |"


def _queues() -> Iterator[str]:
    yield "| name | queue of | abandoned | written | left alone | tested on | what to know |"
    yield "|---|---|---|---|---|---|---|"
    made = {name: queue.made for name, queue in QUEUES.items()}
    made |= {name: queue.made for name, queue in SHARED.items()}
    for name, how in made.items():
        program = PROGRAMS[name]
        active = _words(program, "queued") + _words(program, "generating")
        others = [*_words(program, "ignored")]
        if "requests.filter" in program.settings:
            others += ["other queues"]
        if "requests.columns.scheduled_at" in program.settings:
            others += ["what is meant for later"]
        if "requests.columns.heartbeat_at" in program.settings:
            others += ["what shows a sign of life"]
        yield (
            f"| `{name}` | {program.title} | {', '.join(active)} | "
            f"{_words(program, 'cancelled')[0]} | {', '.join(others) or '-'} | a table of {how} | "
            f"{program.why} |"
        )


def _words(program: Program, state: str) -> list[str]:
    setting = f"requests.statuses.{state}"
    words = program.settings.get(setting, BY_NAME[setting].default)
    assert isinstance(words, Iterable)
    return [f"`{word}`" for word in words]


def _patterns(names: Iterable[str]) -> str:
    """File names without what differs from one to the next."""
    found = set()
    for name in names:
        for pattern, place in _PLACES:
            name = re.sub(pattern, place, name)
        found.add(f"`{name}`")
    return ", ".join(sorted(found))
