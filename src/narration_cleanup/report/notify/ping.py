"""The dead man's switch: ``URL/start``, then ``URL`` or ``URL/fail``, as healthchecks.io has it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.report.notify.time_limit import within
from narration_cleanup.report.record import RunRecord

START_SECONDS = 5.0
"""The longest that a run's start waits for the receiver."""
PING_SECONDS = 10.0
"""The longest that a run's end waits for it, all tries together."""
TRIES = 3
ONE_TRY_SECONDS = 4.0
MOST_BODY_BYTES = 10_000
"""What healthchecks.io keeps of a body."""


def ping_start(url: str, *, seconds: float = START_SECONDS) -> str | None:
    """Say that a run begins; what went wrong, without the address, or ``None``."""
    return _within(seconds, _beside(url, "start"), "")


def ping_end(
    url: str, record: RunRecord, lines: Sequence[str], *, seconds: float = PING_SECONDS
) -> str | None:
    """Say how a run ended; what went wrong, without the address, or ``None``.

    Everything but success is a failure to a dead man's switch. A run that found the lock held says
    nothing: the one that holds it will.
    """
    if record.outcome == RunOutcome.BUSY:
        return None
    target = url if record.success else _beside(url, "fail")
    return _within(seconds, target, "\n".join(lines))


def _beside(url: str, word: str) -> str:
    """``URL/word``; a query stays at the end."""
    address, mark, query = url.partition("?")
    return f"{address.rstrip('/')}/{word}{mark}{query}"


def _within(seconds: float, url: str, body: str) -> str | None:
    (wrong,) = within(seconds, [lambda: _post(url, body)])
    return None if wrong is None else f"the ping (alerts.ping_url) did not arrive: {wrong}"


def _post(url: str, body: str) -> str | None:
    """Send, and try again where that may help: after a lost connection, or an answer of 5xx."""
    wrong: str | None = None
    for number in range(TRIES):
        if number:
            time.sleep(0.5 * number)
        wrong, again = _post_once(url, body.encode("utf-8", "replace")[-MOST_BODY_BYTES:])
        if wrong is None or not again:
            return wrong
    return wrong


def _post_once(url: str, body: bytes) -> tuple[str | None, bool]:
    """What went wrong, if anything, in words of our own: those of the library name the address."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    headers = {"User-Agent": "narration-cleanup", "Content-Type": "text/plain; charset=utf-8"}
    try:
        request = Request(url, data=body, headers=headers, method="POST")
        with urlopen(request, timeout=ONE_TRY_SECONDS):
            return None, False
    except HTTPError as error:
        error.close()
        return f"the receiver answered {error.code}", error.code >= 500 or error.code == 429
    except URLError as error:
        known = error.reason.strerror if isinstance(error.reason, OSError) else None
        return known or "it cannot be reached", True
    except TimeoutError:
        return f"no answer within {ONE_TRY_SECONDS:g} s", True
    except (OSError, HTTPException, ValueError) as error:
        return f"it cannot be reached ({type(error).__name__})", isinstance(error, OSError)
