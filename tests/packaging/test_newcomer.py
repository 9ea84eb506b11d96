"""The README's two commands on a clean Debian with python3 and pip, as an ordinary user."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.machine import ROOT, Machine, lent_pip, require, working_copy

pytestmark = pytest.mark.newcomer

PLACE = "/home/newcomer/narration-cleanup"


def commands() -> list[str]:
    """What the README tells to type first."""
    block = re.search(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    return block[1].splitlines()


def test_the_two_commands_of_the_readme(tmp_path: Path) -> None:
    require()
    assert commands() == ["python3 dev.py demo", "python3 dev.py test"]
    variables, lent = lent_pip()
    packages = ("python3", "python3-pip")
    machine = Machine.create(tmp_path / "tree", "bookworm", packages, lent)
    machine.run("useradd", "--create-home", "newcomer")
    working_copy(machine.tree / PLACE.lstrip("/"))
    subprocess.run(
        ["chroot", str(machine.tree), "chown", "-R", "newcomer:", "/home/newcomer"], check=True
    )
    shown = [
        machine.run("sh", "-c", f"cd {PLACE} && {command}", user="newcomer", more=variables).stdout
        for command in commands()
    ]
    assert "Removed " in shown[0] or "removed" in shown[0]
    assert re.search(r"\d+ passed", shown[1])
    assert "failed" not in shown[1]
    shutil.rmtree(machine.tree)
