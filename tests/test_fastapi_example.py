"""The example of a FastAPI service, asked by a real client beside a running cache."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import narration_cleanup
from tests.samples import Sample, make_sample

pytest.importorskip("fastapi", reason="needs the extra `servers`")
pytest.importorskip("httpx", reason="needs the extra `servers`")
pytestmark = pytest.mark.filterwarnings("default")  # what those libraries warn of is theirs

PATH = "/api/narration/cleanup"
TOKEN = {"Authorization": "Bearer secret"}
STATS = {
    "running",
    "cleanup_interval_hours",
    "abandoned_timeout_hours",
    "cache",
    "requests",
}


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path / "service")


def places(sample: Sample, state: Path) -> dict[str, object]:
    return {
        "cache": {"dir": str(sample.cache.directory)},
        "requests": {"db": str(sample.database)},
        "cleanup": {"state_dir": str(state)},
    }


def client(sample: Sample, state: Path, **options: Any) -> Any:
    from fastapi.testclient import TestClient

    from examples.fastapi_service import create_app

    return TestClient(create_app(places(sample, state), token="secret", **options))


def check_stats(stats: dict[str, Any]) -> None:
    assert stats.keys() == STATS
    assert isinstance(stats["running"], bool)
    assert stats["cache"].keys() == {"entry_count", "total_size_mb", "max_size_mb", "ttl_days"}
    assert stats["requests"].keys() == {"total", "by_status", "active", "queued"}


def test_the_endpoints_answer_with_the_services_keys(sample: Sample, tmp_path: Path) -> None:
    with client(sample, tmp_path / "state", every_hours=None) as http:
        before = http.get(f"{PATH}/stats", headers=TOKEN).json()
        check_stats(before)
        assert before["cache"]["entry_count"] == 60
        assert before["running"] is False

        answer = http.post(f"{PATH}/run", headers=TOKEN)
        assert answer.status_code == 200
        done = answer.json()
        assert done.keys() == {"success", "message", "stats"}
        assert done["success"] is True
        assert done["message"] == "Cleanup tasks completed successfully"
        check_stats(done["stats"])
        assert done["stats"]["cache"]["entry_count"] < 60


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_of_a_token_may_be_in_any_case(
    sample: Sample, tmp_path: Path, scheme: str
) -> None:
    headers = {"Authorization": f"{scheme} secret"}
    with client(sample, tmp_path / "state", every_hours=None) as http:
        assert http.get(f"{PATH}/stats", headers=headers).status_code == 200


@pytest.mark.parametrize("given", ["", "Bearer wrong", "Bearer ", "secret", "Basic secret"])
def test_without_the_token_nothing_is_done(sample: Sample, tmp_path: Path, given: str) -> None:
    headers = {"Authorization": given}
    files = set(sample.cache.directory.iterdir())
    with client(sample, tmp_path / "state", every_hours=None) as http:
        assert http.get(f"{PATH}/stats", headers=headers).status_code == 401
        assert http.post(f"{PATH}/run", headers=headers).status_code == 401
    assert set(sample.cache.directory.iterdir()) == files


def test_an_empty_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from examples.fastapi_service import create_app

    monkeypatch.setenv("NARRATION_SERVICE_TOKEN", "")
    with pytest.raises(ValueError, match="is empty"):
        create_app({})


def test_what_cannot_be_done_is_an_error_with_its_reason(sample: Sample, tmp_path: Path) -> None:
    with client(sample, tmp_path / "state", every_hours=None) as http:
        sample.cache.directory.rename(tmp_path / "elsewhere")
        for answer in (
            http.post(f"{PATH}/run", headers=TOKEN),
            http.get(f"{PATH}/stats", headers=TOKEN),
        ):
            assert answer.status_code == 503
            assert str(sample.cache.directory) in answer.json()["detail"]


@pytest.mark.waits
def test_a_second_run_at_once_is_told_of_the_first(sample: Sample, tmp_path: Path) -> None:
    with (
        closing(sqlite3.connect(sample.database)) as service,
        client(sample, tmp_path / "state", every_hours=None) as http,
        ThreadPoolExecutor(1) as pool,
    ):
        service.execute("BEGIN IMMEDIATE")  # so that the first run waits in its middle
        before = sample.cache.index.read_bytes()
        first = pool.submit(http.post, f"{PATH}/run", headers=TOKEN)
        while sample.cache.index.read_bytes() == before:
            time.sleep(0.01)
        second = http.post(f"{PATH}/run", headers=TOKEN)
        service.rollback()
        assert first.result().json()["success"] is True
    assert second.status_code == 409
    assert second.json()["detail"].startswith("another run (pid ")


def test_a_run_that_was_asked_for_is_stopped_at_the_end_of_the_service(
    sample: Sample, tmp_path: Path
) -> None:
    """A server cancels what it still answers when its time is over, and ends the lifespan."""
    import httpx

    from examples.fastapi_service import create_app

    settings = places(sample, tmp_path / "state")

    async def serve() -> None:
        app = create_app(settings, token="secret", every_hours=None)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://service") as http,
        ):
            before = sample.cache.index.read_bytes()
            answer = asyncio.create_task(http.post(f"{PATH}/run", headers=TOKEN))
            while sample.cache.index.read_bytes() == before:
                await asyncio.sleep(0.01)
            answer.cancel()
        last = narration_cleanup.stats(settings)["last_run"]  # it is over when the lifespan is
        assert isinstance(last, dict)
        assert last["outcome"] == "interrupted"

    with closing(sqlite3.connect(sample.database)) as service:
        service.execute("BEGIN IMMEDIATE")  # so that the run waits in its middle
        asyncio.run(serve())


def test_the_loop_of_the_lifespan_runs_at_the_start_and_ends_with_the_service(
    sample: Sample, tmp_path: Path
) -> None:
    with client(sample, tmp_path / "state", every_hours=6) as http:
        assert http.get(f"{PATH}/stats", headers=TOKEN).json()["running"] is True
    # The end of the service waits for the run that has begun.
    assert narration_cleanup.stats(places(sample, tmp_path / "state"))["last_run"] is not None
