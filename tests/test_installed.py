"""The program as installed: also run against the built wheel, away from the source tree."""

import importlib.metadata
import importlib.resources
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import narration_cleanup

SCRIPT = Path(sysconfig.get_path("scripts")) / "narration-cleanup"


def test_the_installed_version_is_the_source_one() -> None:
    assert importlib.metadata.version("narration-cleanup") == narration_cleanup.__version__


def test_script_and_module_are_the_same_program() -> None:
    for command in ([str(SCRIPT)], [sys.executable, "-m", "narration_cleanup"]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        first, second = done.stdout.splitlines()
        assert first == f"narration-cleanup {narration_cleanup.__version__}"
        python = f"{sys.version_info[0]}.{sys.version_info[1]}."
        assert re.fullmatch(rf"Python {python}\S+, SQLite 3\.\S+, extras: [a-z0-9, ]+", second)


def test_types_are_offered_to_those_who_import_it() -> None:
    assert importlib.resources.files("narration_cleanup").joinpath("py.typed").is_file()
