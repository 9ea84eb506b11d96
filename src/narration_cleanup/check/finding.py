"""One thing that was looked at: whether it is as it should be, and if not, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """``warning`` may be meant so; ``failed`` keeps runs from working, or from reporting it."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found. ``check`` is its stable name (``cache.index``); ``remedy`` is empty where
    it passed; ``details`` are a few lines to look at. All texts may be raw: they are escaped where
    they are shown."""

    check: str
    status: Status
    message: str
    remedy: str = ""
    details: tuple[str, ...] = ()


def passed(check: str, message: str, details: Sequence[str] = ()) -> Finding:
    """It is as it should be."""
    return Finding(check, Status.PASSED, message, "", tuple(details))


def warning(check: str, message: str, remedy: str, details: Sequence[str] = ()) -> Finding:
    """It may be meant so."""
    return Finding(check, Status.WARNING, message, remedy, tuple(details))


def failed(check: str, message: str, remedy: str, details: Sequence[str] = ()) -> Finding:
    """It must be put right."""
    return Finding(check, Status.FAILED, message, remedy, tuple(details))
