"""The dead man's switch: who it is decides how it hears of a start, a success and a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from narration_cleanup.apply.result import RunOutcome
from narration_cleanup.core.deadline import Deadline
from narration_cleanup.report.notify.send import within
from narration_cleanup.report.run_record import RunRecord

START_SECONDS = 5.0
"""The longest that a run's start waits for the receiver."""
PING_SECONDS = 10.0
"""The longest that a run's end waits for it, all tries together."""
TRIES = 3
ONE_TRY_SECONDS = 4.0
MOST_BODY_BYTES = 10_000
"""What healthchecks.io keeps of a body."""
MOST_MESSAGE_BYTES = 500
"""Of the log in an address, which proxies and receivers cut."""
_METHOD_REFUSED = (405, 501)


@dataclass(frozen=True, slots=True)
class _Ping:
    """What is sent: only a ``POST`` has a body."""

    url: str
    body: bytes = b""
    method: str = "POST"


def style_of(url: str) -> str:
    """The style that the address itself shows; that of healthchecks.io is the common one."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if "{state}" in url or "{message}" in url:
        return "template"
    if f".{host}".endswith((".cronitor.link", ".cronitor.io")):
        return "cronitor"
    if "/api/push/" in parts.path:
        return "uptime-kuma"
    return "healthchecks"


def is_stateless(url: str, style: str) -> bool:
    """Whether each state is sent in the same way: an address to fill in has no ``{state}``."""
    return (style_of(url) if style == "auto" else style) == "template" and "{state}" not in url


def ping_start(url: str, style: str = "auto") -> str | None:
    """Say that a run begins; what went wrong, without the address, or ``None``."""
    return _deliver(lambda: _ping(url, style, "start"), START_SECONDS)


def ping_end(url: str, record: RunRecord, lines: Sequence[str], style: str = "auto") -> str | None:
    """Say how a run ended; what went wrong, without the address, or ``None``.

    Everything but success is a failure to a dead man's switch. A run that found the lock held says
    nothing: the one that holds it will.
    """
    if record.outcome == RunOutcome.BUSY:
        return None
    state = "success" if record.success else "fail"
    took = record.duration or 0.0
    return _deliver(lambda: _ping(url, style, state, lines, took), PING_SECONDS)


def _ping(
    url: str, style: str, state: str, lines: Sequence[str] = (), duration: float = 0.0
) -> _Ping | None:
    """The request for ``state`` (start, success, fail); ``None`` where the style knows none."""
    body = last_whole(lines, MOST_BODY_BYTES)
    message = last_whole(lines, MOST_MESSAGE_BYTES)
    text = message.decode("utf-8", "replace")
    style = style_of(url) if style == "auto" else style
    if style == "template":
        filled = url.replace("{state}", state).replace("{message}", quote(message, safe=""))
        return _Ping(filled, body)
    if style == "cronitor":
        word = {"start": "run", "success": "complete", "fail": "fail"}[state]
        return _Ping(_with_query(url, state=word, message=text), body)
    if style == "uptime-kuma":
        if state == "start":  # it would count as a sign of life
            return None
        word, took = "up" if state == "success" else "down", round(duration * 1000)
        return _Ping(_with_query(url, status=word, msg=text, ping=str(took)), method="GET")
    if state != "success":
        address, mark, query = url.partition("?")
        url = f"{address.rstrip('/')}/{state}{mark}{query}"
    return _Ping(url, body)


def _with_query(url: str, **values: str) -> str:
    """``url`` with these values in its query, in the place of any that are there."""
    parts = urlsplit(url)
    kept = [pair for pair in parse_qsl(parts.query, True) if pair[0] not in values]
    query = urlencode([*kept, *((name, value) for name, value in values.items() if value)])
    return urlunsplit(parts._replace(query=query))


def last_whole(lines: Sequence[str], most: int) -> bytes:
    """The last of ``lines`` that fit into ``most`` bytes, each whole; of a last one that is longer
    than all, its beginning."""
    kept, size = list[bytes](), -1
    for line in reversed(lines):
        encoded = line.encode("utf-8", "replace")
        size += len(encoded) + 1
        if size > most:
            break
        kept.append(encoded)
    if lines and not kept:
        return lines[-1].encode("utf-8", "replace")[:most].decode("utf-8", "ignore").encode()
    return b"\n".join(reversed(kept))


def _deliver(make: Callable[[], _Ping | None], seconds: float) -> str | None:
    """Send what ``make`` makes, for so long at most; what went wrong, without the address."""
    deadline = Deadline(seconds)

    def send() -> str | None:
        ping = make()
        return None if ping is None else _send(ping, deadline)

    (wrong,) = within(seconds, [send])
    return None if wrong is None else f"the ping (alerts.ping_url) did not arrive: {wrong}"


def _send(ping: _Ping, deadline: Deadline) -> str | None:
    """Send, and try again where that may help: after a lost connection, or an answer of 5xx; never
    after the deadline, as a start that follows its end would count as a run that hangs."""
    wrong: str | None = None
    for number in range(TRIES):
        if number:
            time.sleep(0.5 * number)
            if deadline.passed:
                break
        wrong, again = _send_once(ping)
        if wrong is None or not again:
            return wrong
    return wrong


class _KeepBody(HTTPRedirectHandler):
    """Follows a redirect with the method and the body of the request, where the library would drop
    them (301 to 303) or not follow at all (307, 308)."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request:
        return Request(newurl, data=req.data, headers=_HEADERS, method=req.get_method())


_HEADERS = {"User-Agent": "narration-cleanup", "Content-Type": "text/plain; charset=utf-8"}


def _send_once(ping: _Ping) -> tuple[str | None, bool]:
    """What went wrong, if anything, in words of our own: those of the library name the address."""
    for method in (ping.method, "GET" if ping.method == "POST" else "POST"):
        data = ping.body if method == "POST" else None
        try:
            request = Request(ping.url, data=data, headers=_HEADERS, method=method)
            with build_opener(_KeepBody).open(request, timeout=ONE_TRY_SECONDS):
                return None, False
        except HTTPError as error:
            error.close()
            code = error.code
        except URLError as error:
            known = error.reason.strerror if isinstance(error.reason, OSError) else None
            return known or "it cannot be reached", True
        except TimeoutError:
            return f"no answer within {ONE_TRY_SECONDS:g} s", True
        except (OSError, HTTPException, ValueError) as error:
            return f"it cannot be reached ({type(error).__name__})", isinstance(error, OSError)
        if code not in _METHOD_REFUSED:
            break
    return f"the receiver answered {code}", code >= 500 or code == 429
