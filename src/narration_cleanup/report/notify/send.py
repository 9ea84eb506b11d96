"""Messages through Apprise, which is an extra and is imported only when something is sent."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from types import ModuleType

from narration_cleanup.report.notify.message import Message

SEND_SECONDS = 15.0
"""The longest that a run's end waits for all receivers, which are written to side by side."""

_MISSING = (
    "alerts.urls is set, but Apprise is not installed: pip install 'narration-cleanup[alerts]'"
)


def send(message: Message, urls: Sequence[str]) -> list[str]:
    """Send to every address; one line for each to which it could not be sent, by its number."""
    if not urls:
        return []
    apprise = _apprise()
    if apprise is None:
        return [_MISSING]
    works: list[Callable[[], str | None]] = [partial(_send, apprise, message, url) for url in urls]
    return [
        f"the message to alerts.urls number {number} was not sent: {wrong}"
        for number, wrong in enumerate(within(SEND_SECONDS, works), 1)
        if wrong is not None
    ]


def unknown_urls(urls: Sequence[str]) -> list[str]:
    """One line for each address that could not be sent to, found without sending anything."""
    if not urls:
        return []
    apprise = _apprise()
    if apprise is None:
        return [_MISSING]
    return [
        f"alerts.urls number {number} is not an address that Apprise knows"
        for number, url in enumerate(urls, 1)
        if not apprise.Apprise().add(url)
    ]


def _send(apprise: ModuleType, message: Message, url: str) -> str | None:
    """One address, with its own Apprise: several in one would share a pool of threads, which the
    process waits for when it ends."""
    receiver = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False))
    if not receiver.add(url):
        return "it is not an address that Apprise knows"
    sent = receiver.notify(
        title=message.title,
        body=message.body,
        notify_type=apprise.NotifyType(message.level),
        body_format=apprise.NotifyFormat.TEXT,
    )
    return None if sent else "the receiver did not take it, or could not be reached"


def _apprise() -> ModuleType | None:
    """Apprise, kept from saying addresses: its log and its warnings name them."""
    try:
        import apprise
    except ImportError:
        return None
    for name in ("apprise", "urllib3", "requests"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    for package in ("urllib3", "requests", "apprise"):
        warnings.filterwarnings("ignore", module=rf"{package}\b")
    return apprise


def within(seconds: float, works: Sequence[Callable[[], str | None]]) -> list[str | None]:
    """Do all of ``works`` at the same time; what went wrong with each (``None``: nothing).

    Threads that do not come back are left behind: they are daemons, which the process does not
    wait for when it ends. A socket's own time limit would not do, it begins again at every byte.
    """
    said: list[str | None] = [f"no answer within {seconds:g} s"] * len(works)

    def do(position: int) -> None:
        try:
            said[position] = works[position]()
        except Exception as error:  # its text may hold the address: only the kind is shown
            said[position] = f"failed ({type(error).__name__})"

    threads = [
        threading.Thread(target=do, args=(position,), daemon=True) for position in range(len(works))
    ]
    for position, thread in enumerate(threads):
        try:
            thread.start()
        except RuntimeError:  # the process may have no more of them
            said[position] = "failed (no thread could be started)"
    end = monotonic() + seconds
    for thread in threads:
        if thread.ident is not None:
            thread.join(max(0.0, end - monotonic()))
    return list(said)
