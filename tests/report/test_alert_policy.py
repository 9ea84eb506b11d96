"""Which runs of a row are news to the operator: the state follows from the records alone."""

from __future__ import annotations

import pytest

from narration_cleanup.report.alert_policy import REMIND_AFTER, Attention, Change, attention
from narration_cleanup.report.run_record import RunRecord

HOUR = 3_600.0


def row(*ends: str, every: float = 6 * HOUR) -> list[RunRecord]:
    """Runs in a row, oldest first: an outcome, with ``!`` for one that left the cache undone, and
    ``@hand`` for one that no unit started."""
    records = []
    for number, end in enumerate(ends):
        outcome, _, trigger = end.partition("@")
        records.append(
            RunRecord(
                outcome=outcome.rstrip("!"),
                undone=["cache"] if outcome.endswith("!") else [],
                trigger=trigger or "timer",
                started_at=number * every,
                finished_at=number * every + 1,
            )
        )
    return records


def news(records: list[RunRecord]) -> list[str]:
    """What each run of the row was news of, as the run itself decided."""
    found = [attention(records[: number + 1]) for number in range(len(records))]
    return ["" if each is None else each.change.name for each in found]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ("success success", " "),
        ("failed failed success success", "BEGINS  ENDS "),
        ("success refused", " BEGINS"),
        ("killed success", "BEGINS ENDS"),
        ("killed@hand success@hand", " "),
        ("partial success partial success", "   "),
        ("partial partial partial success", " BEGINS  ENDS"),
        ("partial! success", "BEGINS ENDS"),
        ("failed partial success", "BEGINS  ENDS"),
        ("failed interrupted busy failed", "BEGINS   "),
        ("partial interrupted busy partial", "   BEGINS"),
        ("interrupted busy success", "  "),
        ("success failed success failed", " BEGINS ENDS BEGINS"),
    ],
)
def test_once_when_it_begins_and_once_when_it_ends(ends: str, expected: str) -> None:
    assert news(row(*ends.split())) == expected.split(" ")


def test_a_reminder_each_week_while_it_lasts() -> None:
    records = row("failed", *["failed", "partial"] * 40, "success")
    found = news(records)
    assert [number for number, each in enumerate(found) if each] == [0, 28, 56, 81]
    assert found[28] == found[56] == "LASTS"
    assert found[81] == "ENDS"
    assert attention(records) == Attention(Change.ENDS, 0.0)
    assert attention(records[:29]) == Attention(Change.LASTS, 0.0)
    assert REMIND_AFTER == 28 * 6 * HOUR


def test_no_runs_are_no_news() -> None:
    assert attention([]) is None
