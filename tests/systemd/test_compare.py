"""Installed units that the settings would no longer make are found, by what systemd shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from narration_cleanup.systemd import compare
from narration_cleanup.systemd.compare import unit_differences
from narration_cleanup.systemd.installation import Installation
from narration_cleanup.systemd.units import render
from tools.units import packaged

HERE = Installation(
    program=("/usr/bin/narration-cleanup",),
    user="voice",
    data=(Path("/srv/voice 1/cache"), Path("/srv/voice 1"), Path("/var/lib/a:b")),
)
Show = Callable[[str], None]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    def put(text: str) -> None:
        monkeypatch.setattr(compare, "systemctl", lambda *arguments, for_user: text)

    return put


def cat(installation: Installation, *more: str) -> str:
    return "\n".join([*render(installation).values(), *more])


@pytest.mark.parametrize(
    "installation", [HERE, replace(HERE, user=None, state=None), replace(HERE, interval_hours=5)]
)
def test_units_made_from_the_settings_are_as_the_settings(
    installation: Installation, show: Show
) -> None:
    show(cat(installation))
    assert unit_differences(installation) == []


def test_another_folder_user_and_interval_are_each_named(show: Show) -> None:
    show(cat(HERE))
    now = replace(HERE, user="other", interval_hours=3, data=(*HERE.data, Path("/srv/new")))
    assert unit_differences(now) == [
        "the unit has no access to /srv/new",
        "the unit runs as voice, the settings are for other",
        "the timer has OnCalendar=*-*-* 00/6:00:00, and a run is due every 3 h "
        "(cleanup.interval_hours)",
    ]
    assert len(unit_differences(now, user_known=False) or ()) == 2


def test_alerts_that_the_installed_units_do_not_send_are_named(show: Show) -> None:
    pinged = replace(HERE, notify_start=True, notify_success=True)
    show(cat(HERE))
    assert unit_differences(pinged) == [
        "the unit does not start all the units that send what [alerts] asks for"
    ]
    show(cat(pinged))
    assert unit_differences(pinged) == unit_differences(HERE) == []


def test_drop_ins_count(show: Show) -> None:
    show(cat(HERE, "BindPaths=/srv/new", "OnCalendar=", "OnCalendar=*-*-* 00/3:00:00"))
    now = replace(HERE, interval_hours=3, data=(*HERE.data, Path("/srv/new/cache")))
    assert unit_differences(now) == []


def test_the_shipped_template_is_made_for_its_instance(show: Show) -> None:
    show("\n".join(text for name, text in packaged().items() if "@." in name))
    mine = replace(HERE, user="narration", instance="one", data=(Path("/var/lib/narration/one"),))
    assert unit_differences(mine) == []
    other = replace(mine, data=(Path("/srv/one"),))
    assert unit_differences(other) == ["the unit has no access to /srv/one"]
