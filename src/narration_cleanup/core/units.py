"""Units that figures are counted in."""

from __future__ import annotations

KB = 1024
MB = 1024 * KB
"""The service counts its sizes in these (2**20 bytes), and calls them MB."""
MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
"""In seconds."""
