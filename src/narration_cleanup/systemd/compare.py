"""Whether the installed units are those that the settings would make: folders, user, interval,
and the units that notify."""

from __future__ import annotations

from collections.abc import Iterator

from narration_cleanup.core.errors import CleanupError
from narration_cleanup.core.text import printable
from narration_cleanup.systemd.installation import Installation, service_name, timer_name
from narration_cleanup.systemd.quote import bound, word
from narration_cleanup.systemd.sandbox_mounts import top_level
from narration_cleanup.systemd.status import systemctl
from narration_cleanup.systemd.units import render

_TIMES = ("OnCalendar", "OnActiveSec", "OnUnitActiveSec")
_FOLDERS = ("BindPaths", "ReadWritePaths")
_NOTIFYING = ("OnFailure", "OnSuccess", "Wants")


def unit_differences(installation: Installation, *, user_known: bool = True) -> list[str] | None:
    """In what the installed units differ from those of ``installation``, a line each; ``None``
    where systemd does not show them. ``user_known``: the settings or the database decide the user.
    """
    names = service_name(installation), timer_name(installation)
    try:
        shown = systemctl("cat", *names, for_user=installation.user is None)
    except CleanupError:
        return None
    if "[Service]" not in shown:
        return None
    # In a template, %i is the instance.
    installed = _values(shown.replace("%i", installation.instance or ""))
    return list(_differences(installation, installed, user_known=user_known))


def _differences(
    installation: Installation, installed: dict[str, list[str]], *, user_known: bool
) -> Iterator[str]:
    folders = [f" {each} " for key in _FOLDERS for each in installed.get(key, [])]
    for folder in top_level(installation.data):
        written = {write(each) for each in (folder, *folder.parents) for write in (bound, word)}
        if not any(f" {each} " in given for each in written for given in folders):
            yield f"the unit has no access to {printable(folder)}"
    expected = _values("\n".join(render(installation).values()))
    user, meant = ((each.get("User") or ["root"])[-1] for each in (installed, expected))
    if user_known and user != meant:
        yield f"the unit runs as {printable(user)}, the settings are for {meant}"
    if any(set(expected.get(key, [])) - set(installed.get(key, [])) for key in _NOTIFYING):
        yield "the unit does not start all the units that send what [alerts] asks for"
    times, meant_times = (
        {key: each[key] for key in _TIMES if each.get(key)} for each in (installed, expected)
    )
    if times != meant_times:
        every = f"{installation.interval_hours:g} h (cleanup.interval_hours)"
        found = ", ".join(f"{key}={value}" for key, each in times.items() for value in each)
        yield f"the timer has {printable(found) or 'no time'}, and a run is due every {every}"


def _values(text: str) -> dict[str, list[str]]:
    """The settings of unit files, with their drop-ins in order: an empty value begins anew."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, separator, value = line.strip().partition("=")
        if separator and not line.startswith(("#", ";")):
            values = found.setdefault(key, [])
            if value.strip():
                values.append(value.strip())
            else:
                values.clear()
    return found
