"""The container itself: the tests beside this one stand on it."""

from __future__ import annotations

import pytest

from tests.systemd.container import Container

pytestmark = pytest.mark.systemd


def test_a_real_systemd_is_up_with_the_wheel_in_it(machine: Container) -> None:
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"
    assert machine.run("cat", "/proc/1/comm").stdout == "systemd\n"
    assert machine.run("narration-cleanup", "--version").stdout.startswith("narration-cleanup ")
    assert machine.run("ls", "/sys/class/net").stdout == "lo\n"
