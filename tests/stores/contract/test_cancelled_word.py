"""The word for a cancelled request is written only where it is one of the table's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from narration_cleanup.core.errors import TargetError
from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.requests.mapping import RequestMapping, Statuses
from tests.stores.contract.tables import SqliteTable, Table, insert
from tests.stores.contract.test_requests import NOW, OLD, by_id, cancels

FORM = "CREATE TABLE requests (request_id TEXT, status {}, created_at TEXT)"
CHECK = "TEXT CHECK (status IN ({}))"
UPPER = Statuses(queued=("QUEUED",), generating=("GENERATING",), completed=("COMPLETED",))


def refusal(table: Table, statuses: Statuses) -> str:
    before = by_id(table)
    store = table.open(RequestMapping(timezone="UTC", statuses=statuses))
    with pytest.raises(TargetError) as caught:
        plan_requests(store.survey(), RequestPolicy(), NOW)
    assert caught.value.code == "foreign_word"
    assert by_id(table) == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("form", "words", "statuses", "wanted"),
    [
        ("TEXT", ["queued", "canceled"], Statuses(), "canceled"),
        ("TEXT", ["queued", "Cancelled"], Statuses(), "Cancelled"),
        ("TEXT", ["QUEUED", "CANCELLED"], UPPER, "CANCELLED"),
        ("TEXT", ["QUEUED", "COMPLETED"], UPPER, "CANCELLED"),
        ("TEXT", ["Queued", "Done"], Statuses(queued=("Queued",)), "Cancelled"),
        (CHECK.format("'queued', 'canceled'"), ["queued"], Statuses(), "canceled"),
        (CHECK.format("'QUEUED', 'CANCELLED'"), ["QUEUED"], UPPER, "CANCELLED"),
    ],
)
def test_another_spelling_is_refused_with_the_word_to_set(
    table: Table, form: str, words: list[str], statuses: Statuses, wanted: str
) -> None:
    table.execute(FORM.format(form))
    insert(table, [(f"r{number}", word, OLD) for number, word in enumerate(words)])
    remedy = f'set requests.statuses.cancelled = ["{wanted}"]'
    assert refusal(table, statuses).endswith(remedy)
    queued, generating, completed = statuses.queued, statuses.generating, statuses.completed
    told = Statuses(queued=queued, generating=generating, completed=completed, cancelled=(wanted,))
    store = table.open(RequestMapping(timezone="UTC", statuses=told))
    assert list(store.cancel(cancels(store), NOW)) == [Outcome.DONE]
    assert by_id(table)["r0"][1] == wanted


@pytest.mark.parametrize("form", [CHECK.format("'queued', 'it''s done', 'failed'")])
def test_a_check_without_a_word_for_it_is_refused_with_the_words_it_has(
    table: Table, form: str
) -> None:
    table.execute(FORM.format(form))
    insert(table, [("a", "queued", OLD)])
    message = refusal(table, Statuses())
    assert "it can only have queued, it's done, failed" in message
    assert "set requests.statuses.cancelled to one of them" in message


@pytest.mark.parametrize("reference", ["states", "states (word)", "states(word) ON UPDATE CASCADE"])
def test_a_table_of_statuses_without_a_word_for_it_is_refused_with_the_words_it_has(
    table: Table, reference: str
) -> None:
    table.execute("CREATE TABLE states (word TEXT PRIMARY KEY, meaning TEXT)")
    insert(table, [("queued", "waits"), ("done", "is over"), ("failed", "is over")], "states")
    table.execute(FORM.format(f"TEXT REFERENCES {reference}"))
    insert(table, [("a", "queued", OLD)])
    message = refusal(table, Statuses())
    assert "set requests.statuses.cancelled to one of them" in message
    assert all(word in message for word in ("queued", "done", "failed"))
    store = table.open(RequestMapping(timezone="UTC", statuses=Statuses(cancelled=("failed",))))
    assert list(store.cancel(cancels(store), NOW)) == [Outcome.DONE]
    assert by_id(table)["a"][1] == "failed"


def test_a_table_of_statuses_with_the_word_is_worked_on(table: Table) -> None:
    table.execute("CREATE TABLE states (word TEXT PRIMARY KEY)")
    insert(table, [("queued",), ("cancelled",)], "states")
    table.execute(FORM.format("TEXT REFERENCES states"))
    insert(table, [("a", "queued", OLD)])
    store = table.open(RequestMapping(timezone="UTC"))
    assert list(store.cancel(cancels(store), NOW)) == [Outcome.DONE]
    assert by_id(table)["a"][1] == "cancelled"


def test_a_reference_to_a_table_that_is_missing_says_nothing(tmp_path: Path) -> None:
    table = SqliteTable(tmp_path / "r.db", wal=False)
    table.execute(FORM.format("TEXT REFERENCES nowhere (word)"))
    insert(table, [("a", "queued", OLD)])
    assert cancels(table.open(RequestMapping(timezone="UTC")))


@pytest.mark.parametrize(
    ("form", "words", "statuses"),
    [
        ("TEXT", ["queued", "completed"], Statuses()),
        ("TEXT", ["queued"], Statuses()),
        ("TEXT", ["queued", "CANCELLED", "cancelled"], Statuses()),
        ("TEXT", ["queued", "canceled"], Statuses(ignored=("canceled",))),
        ("TEXT", ["queued", "canceled"], Statuses(cancelled=("cancelled", "canceled"))),
        (CHECK.format("'queued', 'cancelled'"), ["queued"], Statuses()),
        ("TEXT CHECK (length(status) > 2 OR status IN ('q'))", ["queued"], Statuses()),
        ("BIGINT CHECK (status IN (0, 5))", [0], Statuses(queued=(0,), cancelled=(5,))),
    ],
)
def test_a_table_that_knows_the_word_or_never_had_one_is_worked_on(
    table: Table, form: str, words: list[str | int], statuses: Statuses
) -> None:
    table.execute(FORM.format(form))
    insert(table, [(f"r{number}", word, OLD) for number, word in enumerate(words)])
    store = table.open(RequestMapping(timezone="UTC", statuses=statuses))
    assert list(store.cancel(cancels(store), NOW)) == [Outcome.DONE]
    assert by_id(table)["r0"][1] == statuses.cancelled[0]


@pytest.mark.postgres
@pytest.mark.parametrize("table", ["postgres"], indirect=True)
@pytest.mark.parametrize("form", ["state", "VARCHAR(9) CHECK (status IN ('queued', 'canceled'))"])
def test_an_enum_or_a_check_of_postgresql_without_the_word_is_refused(
    table: Table, form: str
) -> None:
    table.execute("DROP TYPE IF EXISTS state CASCADE")
    table.execute("CREATE TYPE state AS ENUM ('queued', 'canceled')")
    table.execute(FORM.format(form))
    insert(table, [("a", "queued", OLD)])
    assert refusal(table, Statuses()).endswith('set requests.statuses.cancelled = ["canceled"]')


def test_a_word_among_numbers_is_refused(table: Table) -> None:
    table.execute(FORM.format("TEXT"))
    insert(table, [("a", "0", OLD), ("b", "2", OLD)])
    numbers = Statuses(queued=("0",), generating=("1",), completed=("2",))
    assert "all its statuses are numbers" in refusal(table, numbers)
