"""Rows are counted by status page by page: exactly as if they were read one by one."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.model import ACTIVE, RequestStatus
from narration_cleanup.core.zones import TableTimes
from narration_cleanup.stores.requests.mapping import RequestMapping, Statuses
from narration_cleanup.stores.requests.sqlite import database as database_module
from narration_cleanup.stores.requests.sqlite import survey as survey_module
from narration_cleanup.stores.requests.sqlite.layout import Layout, read_layout
from narration_cleanup.stores.requests.sqlite.survey import SqliteSurvey
from narration_cleanup.stores.requests.survey import Row

MAPPINGS = [
    RequestMapping(),
    RequestMapping(
        statuses=Statuses(
            queued=(0, "new"), generating=("1",), completed=(3, "done"), failed=(4,), cancelled=(5,)
        )
    ),
    RequestMapping(statuses=Statuses(completed=(), failed=(), cancelled=("gone",))),
]
RAW = st.one_of(
    st.sampled_from(["queued", "generating", "completed", "failed", "cancelled", "Completed"]),
    st.sampled_from(["new", "done", "0", "1", "3", "4", "5", 0, 1, 3, 4, 5, 3.0, 3.5, None]),
    st.sampled_from([b"completed", b"", "", "completed ", "paused", "queued\0"]),
)


def counted(
    raws: Sequence[object], mapping: RequestMapping, kind: str
) -> tuple[Counter[object], list[Row], list[Row]]:
    """The counts and active rows of a table of such rows; and all its rows."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "requests.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"CREATE TABLE requests (request_id INT, status {kind}, created_at)")
            connection.executemany(
                "INSERT INTO requests (rowid, request_id, status) VALUES (?, ?, ?)",
                [(number * 7, number, raw) for number, raw in enumerate(raws, 1)],
            )
            connection.commit()
            layout = read_layout(connection, mapping, "here")
            rows = connection.execute(
                "SELECT request_id, status, created_at, NULL, NULL, NULL, NULL, rowid "
                "FROM requests ORDER BY rowid"
            ).fetchall()
        survey = SqliteSurvey(path, layout, mapping, "here", TableTimes("UTC", None, None))
        counts = Counter(dict(survey._counts()))
        return counts, [row for page in survey._active() for row in page], rows


def words_of(raws: Sequence[object], mapping: RequestMapping) -> list[RequestStatus | None]:
    words = mapping.statuses.words()
    return [words.get(raw) if isinstance(raw, (str, int, float)) else None for raw in raws]


@given(
    st.lists(RAW, max_size=40),
    st.sampled_from(MAPPINGS),
    st.sampled_from(["TEXT", "INTEGER", "TEXT COLLATE NOCASE", "BLOB"]),
)
def test_it_counts_what_is_there(raws: list[object], mapping: RequestMapping, kind: str) -> None:
    counts, active, rows = counted(raws, mapping, kind)
    there = [row[1] for row in rows]
    by_word: Counter[object] = Counter()
    for raw, count in counts.items():
        (word,) = words_of([raw], mapping)
        by_word[word or raw] += count
    expected = Counter(
        word or raw for raw, word in zip(there, words_of(there, mapping), strict=True)
    )
    assert by_word == expected
    words = words_of(there, mapping)
    assert active == [row for row, word in zip(rows, words, strict=True) if word in ACTIVE]


@pytest.mark.parametrize("kept", [2, 1_000])
@pytest.mark.parametrize("page", [1, 7, 228, 1_000])
def test_pages_of_any_size_agree(page: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "PAGE", page)
    monkeypatch.setattr(survey_module, "KEPT", kept)
    raws = ["queued"] * 3 + ["completed"] * 200 + ["paused", None] + ["failed"] * 20 + ["queued"]
    counts, active, rows = counted(raws, MAPPINGS[0], "TEXT")
    assert counts == Counter(raws)
    assert active == [*rows[:3], rows[-1]]


def test_more_rowids_than_one_value_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "LONGEST_READ", 1_000)
    raws = ["completed"] * 10 + ["queued"] * 300 + ["failed", "paused"]
    counts, active, rows = counted(raws, MAPPINGS[0], "TEXT")
    assert counts == Counter(raws)
    assert active == rows[10:310]


def test_an_empty_table_has_nothing() -> None:
    assert counted([], MAPPINGS[0], "TEXT") == (Counter(), [], [])


def test_a_table_without_a_rowid_has_another_key() -> None:
    layout = Layout("main.requests", ('"rowid"',), {"id": "id", "status": "s", "created_at": "c"})
    assert not layout.by_rowid
