"""The units as they are shipped, for a package: they know no installation's own paths."""

from __future__ import annotations

from dataclasses import replace

from narration_cleanup.settings.sources import APP, CONFIG_DIR, STATE_ROOT
from narration_cleanup.systemd.installation import Installation, notify_names
from narration_cleanup.systemd.units import notify, render

_ANY = "INSTANCE"
"""Stands for the name of an instance, until systemd's specifier takes its place."""


def packaged() -> dict[str, str]:
    """The units by file name, with those of a template for several caches.

    The program is looked for where systemd looks for programs, by `env`. The data of the service
    are in /var/lib/narration, or in /var/lib/narration/NAME for the instance NAME.
    """
    one = Installation(
        program=("/usr/bin/env", APP),
        user="narration",
        data=(STATE_ROOT / "narration",),
        config=CONFIG_DIR / "config.toml",
    )
    each = replace(
        one,
        instance=_ANY,
        data=(STATE_ROOT / "narration" / _ANY,),
        config=CONFIG_DIR / f"{_ANY}.toml",
        state=f"{APP}/{_ANY}",
    )
    units = render(one)
    for name, text in render(each).items():
        units[name.replace(_ANY, "")] = text.replace(_ANY, "%i")
    del units[notify_names(one)["failure"]], units[f"{APP}-notify@{APP}@.service"]
    # Which file an instance is configured by, the command itself knows from the unit's name.
    return {**units, f"{APP}-notify@.service": notify(replace(one, config=None))}
