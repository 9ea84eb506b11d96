"""A pooler that lends one session of PostgreSQL to several clients is refused before it is used."""

from __future__ import annotations

from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from narration_cleanup.core.errors import TargetError
from narration_cleanup.stores.requests.postgres.session import Session

SAID = 1_000


class Connection:
    """A client's connection; ``processes`` of the server answer it, one after the other."""

    closed = False

    def __init__(self, *processes: int) -> None:
        self.info = SimpleNamespace(backend_pid=SAID)
        self.statements: list[str] = []
        self._processes = chain(processes, repeat(processes[-1]))

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, statement: str, values: object = ()) -> Any:
        self.statements.append(statement)
        return SimpleNamespace(fetchone=lambda: (next(self._processes),))

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("one", "other", "is_refused"),
    [
        ((7,), (7,), True),
        ((7, 8), (9,), True),
        ((7,), (8,), False),
        ((SAID,), (), False),
    ],
)
def test_a_session_that_is_shared_is_refused(
    one: tuple[int, ...],
    other: tuple[int, ...],
    is_refused: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [Connection(*processes) for processes in (one, other) if processes]
    waiting = iter(made)
    monkeypatch.setattr(psycopg, "connect", lambda *_, **__: next(waiting))
    session = Session("postgresql://cleaner@127.0.0.1/tts")
    if is_refused:
        with pytest.raises(TargetError, match="transaction mode") as caught:
            session.do(lambda _: None)
        assert caught.value.code == "pooled_connection"
        assert not [each for each in made[0].statements if "set_config" in each]
        assert all(each.closed for each in made)
    else:
        session.do(lambda _: None)
    session.close()


def test_a_connection_that_could_not_be_prepared_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without its search path and its lock."""

    class Unready(Connection):
        def execute(self, statement: str, values: object = ()) -> Any:
            if "set_config" in statement:
                raise psycopg.OperationalError("too many clients")
            return super().execute(statement, values)

    made = [Unready(SAID), Connection(SAID)]
    waiting, used = iter(made), list[object]()
    monkeypatch.setattr(psycopg, "connect", lambda *_, **__: next(waiting))
    monkeypatch.setattr("narration_cleanup.stores.requests.postgres.session.RETRY_FOR", 0.0)
    session = Session("postgresql://cleaner@127.0.0.1/tts")
    with pytest.raises(TargetError):
        session.do(used.append)
    session.do(used.append)
    assert used == [made[1]]
    assert made[0].closed
