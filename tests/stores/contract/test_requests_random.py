"""Random tables in every form: exactly the reference's rows change, and nothing of any other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narration_cleanup.core.model import Scalar
from narration_cleanup.plan import RequestPolicy, plan_requests
from narration_cleanup.plan.actions import (
    Kind,
    Outcome,
)
from narration_cleanup.stores.requests.mapping import Columns, RequestMapping, Statuses
from narration_cleanup.stores.requests.sqlite import survey as survey_room
from narration_cleanup.stores.requests.store import BATCH
from tests.samples import SAMPLE_NOW
from tests.stores.contract.tables import SqliteTable, insert

NOW = SAMPLE_NOW.timestamp()
BERLIN = ZoneInfo("Europe/Berlin")
TIMEOUT = timedelta(hours=1)
SILENCE = timedelta(minutes=10)
COLUMNS = Columns(
    id="job", status="state", created_at="made", completed_at="ended", heartbeat_at="beat"
)
NUMBERS = Statuses(
    queued=(0, 10), generating=(1,), completed=(2,), failed=(3, 13), cancelled=(4, 14)
)
WORDS = Statuses(queued=("waiting", "new"), generating=("working",), cancelled=("stopped",))


@dataclass(frozen=True)
class Form:
    """One way of writing a table: its types, its mapping, and how it writes a time."""

    ddl: str
    mapping: RequestMapping
    write: Callable[[datetime], Scalar]
    step: timedelta = timedelta(microseconds=1)


def form(time_type: str, statuses: Statuses, write: Callable[[datetime], Scalar]) -> Form:
    status_type = "BIGINT" if statuses is NUMBERS else "TEXT"
    ddl = (
        f"CREATE TABLE requests (job TEXT PRIMARY KEY, state {status_type}, made {time_type}, "
        f"beat {time_type}, ended {time_type}, payload TEXT)"
    )
    mapping = RequestMapping(columns=COLUMNS, statuses=statuses, timezone="Europe/Berlin")
    second = timedelta(seconds=1)
    whole = write(SAMPLE_NOW) == write(SAMPLE_NOW + timedelta(microseconds=600_000))
    return Form(ddl, mapping, write, second if whole else timedelta(milliseconds=1))


def berlin(moment: datetime) -> datetime:
    return moment.astimezone(BERLIN).replace(tzinfo=None)


FORMS = {
    "naive text": form("TEXT", WORDS, lambda it: berlin(it).isoformat()),
    "naive text, numbers as states": form("TEXT", NUMBERS, lambda it: berlin(it).isoformat()),
    "text with Z": form("TEXT", WORDS, lambda it: f"{it:%Y-%m-%dT%H:%M:%S}.{it:%f}"[:-3] + "Z"),
    "text with an offset": form("TEXT", WORDS, lambda it: it.astimezone(BERLIN).isoformat()),
    "naive text with a space": form("TEXT", NUMBERS, lambda it: f"{berlin(it):%Y-%m-%d %H:%M:%S}"),
    "seconds": form("BIGINT", NUMBERS, lambda it: int(it.timestamp())),
    "seconds and parts": form("DOUBLE PRECISION", WORDS, lambda it: it.timestamp()),
    "milliseconds": form("BIGINT", WORDS, lambda it: round(it.timestamp() * 1000)),
    "seconds as text": form("TEXT", WORDS, lambda it: str(int(it.timestamp()))),
}
AGES = st.one_of(
    st.sampled_from([timedelta(0), TIMEOUT, SILENCE]),
    st.timedeltas(timedelta(0), timedelta(days=400)),
    st.timedeltas(timedelta(0), 2 * TIMEOUT),
)
STATES = ("queued", "generating", "completed", "failed", "cancelled", "unknown")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(STATES),
        st.integers(0, 1),
        AGES,
        st.one_of(st.none(), AGES),
        st.sampled_from([-1, 0, 1]),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    ),
    max_size=30,
)
Row = tuple[str, int, timedelta, timedelta | None, int, str]


def reference(status: str, created: datetime, beat: datetime | None) -> bool:
    """Abandoned: too long in the queue, or too long without a sign of life."""
    if status == "generating" and beat is not None:
        return SAMPLE_NOW - beat > SILENCE
    return status in ("queued", "generating") and SAMPLE_NOW - created > TIMEOUT


def moments(each: Form, row: Row) -> tuple[datetime, datetime | None]:
    """When the row was made and last gave a sign; ages a step around the limits, too."""
    _, _, age, silence, steps, _ = row

    def moment(back: timedelta) -> datetime:
        exact = SAMPLE_NOW - back + steps * each.step
        return exact - timedelta(microseconds=exact.microsecond % (each.step // _MICROSECOND))

    return moment(age), None if silence is None else moment(silence)


_MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=25)
@given(rows=ROWS, page=st.sampled_from([3, 20_000]))
def test_exactly_the_references_rows_are_cancelled(name: str, page: int, rows: list[Row]) -> None:
    each = FORMS[name]
    written: dict[str, tuple[Scalar, ...]] = {}
    expected: set[str] = set()
    for number, row in enumerate(rows):
        status, choice, _, _, _, payload = row
        created, beat = moments(each, row)
        if status == "unknown":
            raw: str | int = 99 if each.mapping.statuses is NUMBERS else "paused"
        else:
            values = getattr(each.mapping.statuses, status)
            raw = values[choice % len(values)]
        identity = f"job {number}"
        if reference(status, created, beat):
            expected.add(identity)
        silence = None if beat is None else each.write(beat)
        written[identity] = (identity, raw, each.write(created), silence, None, payload)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(survey_room, "PAGE", page)
        table = SqliteTable(Path(folder, "requests.db"), wal=bool(len(rows) % 2))
        table.execute(each.ddl)
        insert(table, written.values())
        before = {str(found[0]): found for found in table.rows()}
        store = table.open(each.mapping)
        policy = RequestPolicy(heartbeat_timeout=SILENCE.total_seconds())
        actions = plan_requests(store.survey(), policy, NOW).actions
        batch = [action for action in actions if action.kind is Kind.CANCEL_REQUEST]
        assert {action.id for action in batch} == expected
        outcomes = store.cancel(batch[:BATCH], NOW)
        assert set(outcomes) <= {Outcome.DONE}
        store.close()
        after = {str(found[0]): found for found in table.rows()}

    assert after.keys() == before.keys()
    end = each.write(SAMPLE_NOW)
    for job, found in after.items():
        if job in expected:
            _, _, made, beaten, _, carried = before[job]
            stopped = each.mapping.statuses.cancelled[0]
            assert found == (job, stopped, made, beaten, found[4], carried)
            assert read(found[4]) == read(end)
        else:
            assert found == before[job]


def read(value: object) -> float:
    """A written time as an instant, by a reference of its own."""
    if isinstance(value, (int, float)):
        return value / 1000 if value > 1e11 else float(value)
    text = str(value)
    if text.isdigit():
        return float(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC if text[10] == " " else BERLIN)
    return moment.timestamp()
