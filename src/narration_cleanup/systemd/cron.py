"""The same schedule as a line for cron, where there is no systemd."""

from __future__ import annotations

import shlex

from narration_cleanup.escape import shown
from narration_cleanup.systemd.installation import CONFIG_VARIABLE, Facts
from narration_cleanup.systemd.interval import cron_times_of, span


def cron_text(facts: Facts) -> str:
    """A crontab line with a comment above it. Quiet, so that cron sends a mail only for trouble.

    Raises ValueError for a path that would break the line.
    """
    times, even = cron_times_of(facts.interval_hours)
    words = [shlex.quote(word) for word in (*facts.program, "run", "--quiet")]
    pairs = [*facts.environment]
    if facts.config is not None:
        pairs.append((CONFIG_VARIABLE, str(facts.config)))
    given = [f"{name}={shlex.quote(value)}" for name, value in pairs]
    for value in (*facts.program, *(value for _, value in pairs)):
        if not value.isprintable():
            raise ValueError(f"a crontab cannot hold {shown(value)}: it has control characters")
    # In a crontab, a bare percent sign ends the command.
    command = " ".join([*given, *words]).replace("%", "\\%")
    every = f"every {span(facts.interval_hours)}"
    if not even:
        every += ", as nearly as cron can say it without being late"
    return (
        "# For the crontab of the user that owns the database (crontab -e): "
        f"{every}\n{times} {command}\n"
    )
