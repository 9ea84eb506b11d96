"""One run at a time across machines: a lease in the bucket, taken and renewed by conditional puts.

The lease is an object that names its holder. It is made only where there is none, taken over only
from the version that was seen released or expired, and renewed only from the holder's own last
version, so that of several who try one succeeds. Whether it has expired is judged by the server's
clock alone: the time of the lease against the time of a mark written just now.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from narration_cleanup.core import locks
from narration_cleanup.core.deadline import Deadline, Stopwatch
from narration_cleanup.core.errors import BusyError, ConfigError, TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.s3.location import OWN_FOLDER, S3Location, etag_of

SECONDS = 60.0
"""How long a lease that is not renewed is honoured: what a run that died costs the next one."""
_NAME = f"{OWN_FOLDER}lease.json"
_CLOCK = f"{OWN_FOLDER}clock"
_NO_VERSION = '"00000000000000000000000000000000"'
_TRY_EVERY = 0.2


class Lease:
    """The lease of one run on a place."""

    def __init__(self, place: S3Location) -> None:
        self._place = place
        self._holder = uuid.uuid4().hex
        self._etag = ""
        self._renewed = Stopwatch()
        self._lost = threading.Event()
        self._done = threading.Event()
        self._trusted = False
        self._ahead = 0.0
        self.held = False

    @contextmanager
    def hold(self, *, needs_conditions: bool) -> Iterator[None]:
        """Hold the lease, renewing it; raises ``BusyError`` where another run has it.

        A server that does not honour If-Match cannot keep runs apart, nor an index whole: with
        ``needs_conditions`` it is refused (``ConfigError``), else gone on with.
        """
        self._take()
        self._trusted = self._conditions_are_honoured()
        if needs_conditions and not self._trusted:
            raise ConfigError(
                f"{self._place.location}: this server ignores If-Match, so an index in it cannot "
                'be changed without losing what others write: use another, or cache.index = "none"'
            )
        self._done.clear()
        renewing = threading.Thread(target=self._renew_until_done, daemon=True)
        renewing.start()
        self.held = True
        try:
            yield
        finally:
            self.held = False
            self._done.set()
            renewing.join()
            self._release()

    def check(self) -> None:
        """Raise ``TargetError`` where the lease is lost, or not renewed for too long."""
        if not self.held:
            return
        if self._lost.is_set() or self._renewed.seconds > SECONDS * 0.8:
            raise TargetError(
                "lease_lost",
                f"{self._place.location}: the lease could not be kept (another run may have it): "
                "stopped, and the next run does the rest",
            )

    def server_now(self) -> float:
        """The server's clock, or up to a second before it."""
        return time.time() + self._ahead

    def is_held_by_anyone(self) -> bool:
        """Whether a run holds it, as far as this machine's clock can tell. Writes nothing."""
        try:
            with self._place.told(FileNotFoundError):
                found = obstore.get(self._place.store, _NAME)
                content = bytes(found.bytes())
        except FileNotFoundError:
            return False
        age = time.time() - found.meta["last_modified"].timestamp()
        return _holder_in(content) is not None and age <= SECONDS

    def _take(self) -> None:
        deadline = Deadline(locks.RUN_LOCK_WAIT)
        while True:
            with self._place.told():
                if self._make() or self._take_over():
                    break
            if deadline.passed:
                raise BusyError(
                    f"another run, perhaps on another machine, holds the lease of "
                    f"{self._place.location}: nothing was done"
                )
            deadline.pause(_TRY_EVERY)
        self._renewed = Stopwatch()
        self._lost.clear()
        with self._place.told():
            taken = obstore.head(self._place.store, _NAME)
        self._ahead = taken["last_modified"].timestamp() - time.time()

    def _make(self) -> bool:
        try:
            self._put("create")
        except AlreadyExistsError:
            return False
        return True

    def _take_over(self) -> bool:
        """Take a lease that is released or expired, or that an unanswered put of ours made."""
        try:
            found = obstore.get(self._place.store, _NAME)
            content = bytes(found.bytes())
        except FileNotFoundError:
            return False
        etag, holder = etag_of(found.meta), _holder_in(content)
        if holder == self._holder:
            self._etag = etag
            return True
        if holder is not None:
            age = self._server_clock() - found.meta["last_modified"].timestamp()
            if age <= SECONDS + 1:  # times are whole seconds
                return False
        return self._put_on(etag)

    def _put_on(self, etag: str) -> bool:
        try:
            self._put({"e_tag": etag})
        except (PreconditionError, FileNotFoundError):
            return False
        return True

    def _put(self, mode: obstore.PutMode, *, holder: bool = True) -> None:
        content = {"holder": self._holder, "host": socket.gethostname(), "process": os.getpid()}
        text = json.dumps(content if holder else {"holder": None}).encode()
        result = obstore.put(self._place.store, _NAME, text, mode=mode)
        self._etag = result["e_tag"] or ""

    def _server_clock(self) -> float:
        obstore.put(self._place.store, _CLOCK, b"")
        return obstore.head(self._place.store, _CLOCK)["last_modified"].timestamp()

    def _conditions_are_honoured(self) -> bool:
        """Whether a put on a wrong version is refused, tried on the lease, which is ours now."""
        kept = self._etag
        modes: tuple[obstore.PutMode, ...] = ({"e_tag": _NO_VERSION}, "create")
        for mode in modes:
            try:
                with self._place.told(PreconditionError, AlreadyExistsError):
                    self._put(mode)
            except (PreconditionError, AlreadyExistsError):
                self._etag = kept
            else:
                return False
        return bool(kept)

    def _renew_until_done(self) -> None:
        while not self._done.wait(SECONDS / 3):
            since = Stopwatch()
            try:
                renewed = not self._trusted or self._put_on(self._etag) or self._is_still_ours()
            except (BaseError, ValueError, OSError):
                continue  # `check` knows how long ago the last time was
            if not renewed:
                self._lost.set()
                return
            self._renewed = since

    def _is_still_ours(self) -> bool:
        """Whether the put that seemed to fail was ours, its answer lost."""
        found = obstore.get(self._place.store, _NAME)
        if _holder_in(bytes(found.bytes())) != self._holder:
            return False
        self._etag = etag_of(found.meta)
        return True

    def _release(self) -> None:
        """Say that nobody holds it; a lease that others have taken is left to them."""
        with suppress(BaseError, TargetError), self._place.told(PreconditionError):
            if self._trusted and not self._lost.is_set():
                self._put({"e_tag": self._etag}, holder=False)
            elif not self._trusted:
                obstore.delete(self._place.store, _NAME)


def _holder_in(content: bytes) -> str | None:
    """Who holds it; content that nobody understands counts as held."""
    try:
        holder = json.loads(content)["holder"]
    except (ValueError, KeyError, TypeError):
        return printable(content[:20].decode(errors="replace"))
    return holder if isinstance(holder, str) else None
