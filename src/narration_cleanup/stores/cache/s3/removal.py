"""Removes objects in bulk, under the lease, and finds out what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING

import obstore

from narration_cleanup.core.errors import TargetError
from narration_cleanup.plan.actions import Outcome
from narration_cleanup.stores.cache import Removal, StoppedError
from narration_cleanup.stores.cache.s3.lease import Lease
from narration_cleanup.stores.cache.s3.location import PAGE, S3Location
from narration_cleanup.stores.cache.s3.objects import Objects

if TYPE_CHECKING:
    from obstore import ObjectMeta

ABSENT = Removal(Outcome.DONE)
CHANGED = Removal(Outcome.SKIPPED, note="it changed since planning")


class Remover:
    """What both kinds of cache in a bucket do the same: hold the lease, and remove objects."""

    def __init__(self, place: S3Location, objects: Objects) -> None:
        self.lease = Lease(place)
        self._place = place
        self._objects = objects
        self._trouble: TargetError | None = None

    @contextmanager
    def locked(self, *, needs_conditions: bool) -> Iterator[None]:
        """Hold the lease. A server that cannot be reached stops this half alone: ``check`` says so.

        Raises ``BusyError``, and ``ConfigError`` where the server cannot do what is needed.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.lease.hold(needs_conditions=needs_conditions))
            except TargetError as error:
                self._trouble = error
            try:
                yield
            finally:
                self._trouble = None

    def check(self) -> None:
        """Raise ``TargetError`` where the run must not go on."""
        if self._trouble is not None:
            raise self._trouble
        self.lease.check()

    def remove(
        self, doomed: Mapping[int, Sequence[ObjectMeta]], removals: list[Removal]
    ) -> Sequence[Removal]:
        """Remove objects; ``removals`` gets, at each position, what became of those together.

        An object that stands at several positions counts as freed at the first. Raises
        ``StoppedError``.
        """
        freed: set[str] = set()
        places = iter(doomed.items())
        while group := dict(_up_to(places, PAGE)):
            names = {meta["path"] for metas in group.values() for meta in metas} - freed
            left: Mapping[str, ObjectMeta] = {}
            why = ""
            try:
                self.check()
                with self._place.told():
                    if names:
                        obstore.delete(self._place.store, sorted(names))
            except TargetError as error:
                left, why = self._left(names, error, removals, [*group, *dict(places)]), str(error)
            for position, metas in group.items():
                fresh = [meta for meta in metas if meta["path"] not in freed]
                if any(meta["path"] in left for meta in metas):
                    removals[position] = Removal(Outcome.FAILED, note=why)
                else:
                    freed |= {meta["path"] for meta in fresh}
                    removals[position] = Removal(Outcome.DONE, sum(meta["size"] for meta in fresh))
        return removals

    def _left(
        self, names: set[str], why: TargetError, removals: list[Removal], positions: Sequence[int]
    ) -> Mapping[str, ObjectMeta]:
        """What a request that failed has left; where that cannot be asked, all of it counts."""
        try:
            self.check()
            return self._objects.find(sorted(names))
        except TargetError:
            for position in positions:
                removals[position] = Removal(Outcome.FAILED, note=str(why))
            raise StoppedError(why, removals) from None


def _up_to(
    places: Iterator[tuple[int, Sequence[ObjectMeta]]], most: int
) -> Iterator[tuple[int, Sequence[ObjectMeta]]]:
    """Positions with at most about ``most`` objects in all."""
    count = 0
    for position, metas in islice(places, most):
        yield position, metas
        count += len(metas)
        if count >= most:
            return
