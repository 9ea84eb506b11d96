"""How far long work has come: told by those who do it, shown (or not) by the output."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each phase: ``start``, then ``advance`` as often as suits, then ``done``.

    Call ``advance`` once for a batch, not for an item: telling must cost nothing. ``total`` is
    the number of items where it is known. A phase that fails may go without its ``done``.
    """

    def start(self, phase: str, total: int | None = None) -> None: ...

    def advance(self, count: int = 1) -> None: ...

    def done(self) -> None: ...


class NoProgress:
    """Shows nothing."""

    def start(self, phase: str, total: int | None = None) -> None:
        """Take note of nothing."""

    def advance(self, count: int = 1) -> None:
        """Take note of nothing."""

    def done(self) -> None:
        """Take note of nothing."""
