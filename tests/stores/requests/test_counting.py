"""A page is counted in one pass where it can be: exactly as if its rows were read one by one."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narration_cleanup.core.model import ACTIVE, RequestStatus
from narration_cleanup.stores.requests.mapping import RequestMapping, Statuses
from narration_cleanup.stores.requests.sqlite import pages
from narration_cleanup.stores.requests.sqlite.layout import Layout, read_layout
from narration_cleanup.stores.requests.sqlite.pages import PageReader, Row, RowRange

WHOLE = RowRange(None, None)
MAPPINGS = [
    RequestMapping(),
    RequestMapping(
        statuses=Statuses(
            queued=(0, "new"), generating=("1",), completed=(3, "done"), failed=(4,), cancelled=(5,)
        )
    ),
    RequestMapping(statuses=Statuses(completed=(), failed=(), cancelled=())),
]
RAW = st.one_of(
    st.sampled_from(["queued", "generating", "completed", "failed", "cancelled", "Completed"]),
    st.sampled_from(["new", "done", "0", "1", "3", "4", "5", 0, 1, 3, 4, 5, 3.0, 3.5, None]),
    st.sampled_from([b"completed", b"", "", "completed ", "paused", "queued\0"]),
)


def page_of(
    raws: Sequence[object], mapping: RequestMapping, kind: str, *, keep: bool = True
) -> tuple[Counter[object], list[Row], list[Row]]:
    """The counts and active rows of one page of such rows; and all its rows."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE requests (request_id INT, status {kind}, created_at)")
        connection.executemany(
            "INSERT INTO requests (rowid, request_id, status) VALUES (?, ?, ?)",
            [(number * 7, number, raw) for number, raw in enumerate(raws, 1)],
        )
        layout = read_layout(connection, mapping, "here")
        page = PageReader(layout, mapping).count(connection, WHOLE, 1_000, keep=keep)
        rows = connection.execute(
            "SELECT request_id, status, created_at, NULL, NULL, NULL, NULL, rowid FROM requests "
            "ORDER BY rowid"
        ).fetchall()
    assert page.span == WHOLE
    assert page.is_last
    return page.counts, page.active, rows


def words_of(raws: Sequence[object], mapping: RequestMapping) -> list[RequestStatus | None]:
    words = mapping.statuses.words()
    return [words.get(raw) if isinstance(raw, (str, int, float)) else None for raw in raws]


@given(
    st.lists(RAW, max_size=40),
    st.sampled_from(MAPPINGS),
    st.sampled_from(["TEXT", "INTEGER", "TEXT COLLATE NOCASE", "BLOB"]),
)
def test_it_counts_what_is_there(raws: list[object], mapping: RequestMapping, kind: str) -> None:
    counts, active, rows = page_of(raws, mapping, kind)
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


@pytest.mark.parametrize("few", [1, 8, 1_000_000])
def test_both_ways_of_counting_agree(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_FEW", few)
    raws = ["queued"] * 3 + ["completed"] * 200 + ["paused", None] + ["failed"] * 20
    counts, active, rows = page_of(raws, MAPPINGS[0], "TEXT")
    assert counts == Counter(raws)
    assert active == rows[:3]


def test_active_rows_that_are_not_asked_for_are_only_counted() -> None:
    raws = ["queued", "completed", "completed"]
    counts, active, _ = page_of(raws, MAPPINGS[0], "TEXT", keep=False)
    assert (counts, active) == (Counter(raws), [])


def test_an_empty_page_has_nothing() -> None:
    assert page_of([], MAPPINGS[0], "TEXT") == (Counter(), [], [])


def test_a_table_without_a_rowid_is_grouped() -> None:
    layout = Layout("main.requests", ('"rowid"',), {"id": "id", "status": "s", "created_at": "c"})
    assert not layout.by_rowid
