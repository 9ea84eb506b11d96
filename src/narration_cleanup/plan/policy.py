"""What the operator allows: plain values that the planner judges by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from narration_cleanup.core.model import DAY, HOUR

EMPTY_AUDIO_AGE = HOUR
"""Zero-byte audio younger than this may be a file that is just being written."""
IN_FLIGHT = HOUR
"""What arrived within this time is no orphan: its entry may be yet to come, as in a restore."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """What the operator allows of the cache. Ages in seconds, sizes in bytes; ``None`` is off."""

    ttl: float = 7 * DAY
    ttl_by_voice_style: Mapping[str, float] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    evict_above: int | None = None
    evict_to: int = 0
    min_free: int | None = None
    orphan_ttl: float | None = None
    partial_ttl: float | None = None
    sidecar_ttl: float | None = None
    remove_dangling: bool = False
    remove_empty: bool = True


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """What the operator allows of the requests. Ages in seconds; ``None`` is off.

    ``from_start``: ``generating_timeout`` counts from the start of the generation.
    """

    queued_timeout: float = HOUR
    generating_timeout: float = HOUR
    from_start: bool = False
    heartbeat_timeout: float | None = None
    delete_finished_after: float | None = None
