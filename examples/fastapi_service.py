"""A FastAPI service that cleans its own cache: two endpoints, and a run every six hours.

Needs ``fastapi`` and a server such as ``uvicorn``. The endpoints, with their keys:

- ``GET /api/narration/cleanup/stats``: ``running``, ``cleanup_interval_hours``,
  ``abandoned_timeout_hours``, ``cache``, ``requests``
- ``POST /api/narration/cleanup/run``: ``success``, ``message``, ``stats``

Both ask for ``Authorization: Bearer TOKEN``. For a service that is started by several workers, or
where a timer is at hand, leave the loop out (``every_hours=None``): two runs never overlap, but
one is enough.

    NARRATION_SERVICE_TOKEN=... uvicorn --timeout-graceful-shutdown 5 --factory \\
        examples.fastapi_service:create_app

Without a limit the server waits at its end for a run that was asked for, and stops it only then.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse

import narration_cleanup
from narration_cleanup import BusyError, CleanupError

log = logging.getLogger(__name__)
Document = Mapping[str, object]
Given = narration_cleanup.Settings | Document | None
T = TypeVar("T")


def create_app(
    settings: Given = None,
    *,
    token: str | None = None,
    every_hours: float | None = 6,
) -> FastAPI:
    """The application; without ``settings`` those that the command line finds."""
    expected = token or os.environ["NARRATION_SERVICE_TOKEN"]
    if not expected:
        raise ValueError("NARRATION_SERVICE_TOKEN is empty")
    stop = threading.Event()
    at_work = set[asyncio.Task[Any]]()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if every_hours is not None:
            begin(clean_every(every_hours * 3600, settings, stop))
        yield
        stop.set()  # a run that is at work finishes what it has begun
        await asyncio.gather(*at_work, return_exceptions=True)

    def begin(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        at_work.add(task)
        task.add_done_callback(at_work.discard)
        return task

    def check_token(authorization: str = Header(default="")) -> None:
        scheme, _, given = authorization.partition(" ")
        is_right = hmac.compare_digest(given.encode(), expected.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise HTTPException(401, "a token is needed", {"WWW-Authenticate": "Bearer"})

    # Both in a thread, so that no other request waits for them.
    def read_stats() -> dict[str, object]:
        return _stats(narration_cleanup.stats(settings), every_hours)

    async def run_now() -> dict[str, object]:
        task = begin(asyncio.to_thread(narration_cleanup.run, settings, stop=stop))
        # A server that ends may cancel the request, not the run, which the lifespan stops.
        done = await asyncio.shield(task)
        after = done["stats"]
        assert isinstance(after, dict)
        return {
            "success": done["success"],
            "message": done["message"],
            "stats": _stats(after, every_hours),
        }

    async def report_why_not(_: Request, error: Exception) -> JSONResponse:
        status = 409 if isinstance(error, BusyError) else 503
        return JSONResponse({"detail": str(error)}, status)

    app = FastAPI(lifespan=lifespan)
    app.add_exception_handler(CleanupError, report_why_not)
    guarded = [Depends(check_token)]
    path = "/api/narration/cleanup"
    app.add_api_route(f"{path}/stats", read_stats, methods=["GET"], dependencies=guarded)
    app.add_api_route(f"{path}/run", run_now, methods=["POST"], dependencies=guarded)
    return app


async def clean_every(seconds: float, settings: Given, stop: threading.Event) -> None:
    """Clean at once, and again and again until ``stop`` is set."""
    while not stop.is_set():
        try:
            done = await asyncio.to_thread(narration_cleanup.run, settings, stop=stop)
            log.info("%s", done["message"])
        except CleanupError as error:  # the next one tries again
            log.error("narration clean-up: %s", error)
        except Exception:
            log.exception("narration clean-up")
        await asyncio.to_thread(stop.wait, seconds)


def _stats(document: Document, every_hours: float | None) -> dict[str, object]:
    return {
        "running": every_hours is not None or document["running"],  # here, or by a timer
        "cleanup_interval_hours": document["cleanup_interval_hours"],
        "abandoned_timeout_hours": document["abandoned_timeout_hours"],
        "cache": _some(
            document["cache"], "entry_count", "total_size_mb", "max_size_mb", "ttl_days"
        ),
        "requests": _some(document["requests"], "total", "by_status", "active", "queued"),
    }


def _some(document: object, *keys: str) -> dict[str, object] | None:
    """These keys of a part of the document; ``None`` where that part is not configured."""
    if not isinstance(document, Mapping):
        return None
    return {key: document[key] for key in keys}
