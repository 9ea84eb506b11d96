"""The Debian package on clean systems: comes with all it promises, and goes without a trace."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from narration_cleanup import __version__
from tests.packaging.machine import Machine, require

pytestmark = pytest.mark.packaging

# man-db, shells and systemd are there to try what the package brings for them; the package itself
# needs python3 alone.
PACKAGES = ("python3", "man-db", "bash-completion", "zsh", "fish", "systemd")
DEMO = "/srv/demo"
CONFIG = {"NARRATION_CLEANUP_CONFIG": f"{DEMO}/narration-cleanup.toml"}
STATE = "/var/lib/narration-cleanup"

Files = dict[str, tuple[object, ...]]


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(
    request: pytest.FixtureRequest, deb: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Machine, Files]]:
    """A clean system with the package installed and a sandbox made; the files from before."""
    require()
    tree = tmp_path_factory.mktemp(request.param) / "tree"
    made = Machine.create(tree, request.param, PACKAGES)
    before = made.files()
    made.copy(deb, f"/tmp/{deb.name}")
    made.run("apt-get", "install", "--yes", f"/tmp/{deb.name}")
    made.run("narration-cleanup", "demo", DEMO)
    yield made, before
    shutil.rmtree(tree)


@pytest.fixture
def installed(machine: tuple[Machine, Files]) -> Machine:
    """A system with the package installed and a sandbox made."""
    return machine[0]


def test_it_runs_and_knows_its_place(installed: Machine) -> None:
    version, rest = installed.run("narration-cleanup", "--version").stdout.splitlines()
    assert version == f"narration-cleanup {__version__}"
    assert rest.endswith("extras: alerts, postgres, s3")
    units = installed.run("narration-cleanup", "systemd", "install", "--print", more=CONFIG).stdout
    assert "\nExecStart=/usr/bin/narration-cleanup run\n" in units


def test_all_that_is_optional_elsewhere_is_there(installed: Machine) -> None:
    """Compiled modules included, which are there once for each version of Python."""
    modules = "apprise, msgspec._core, obstore, psycopg, pydantic_core, yaml._yaml"
    program = (
        "import sys; sys.path.insert(0, '/usr/lib/narration-cleanup'); "
        f"import {modules}; print(psycopg.pq.__impl__, msgspec._core.__file__)"
    )
    found = installed.run("/usr/bin/python3", "-I", "-c", program).stdout
    assert found.startswith("binary /usr/lib/narration-cleanup/msgspec/_core.cpython-3")


def test_nothing_of_a_users_own_python_gets_into_it(installed: Machine) -> None:
    installed.write("/tmp/foreign/msgspec.py", "raise SystemExit('a foreign module')")
    foreign = {"PYTHONPATH": "/tmp/foreign", "PYTHONSTARTUP": "/tmp/foreign/msgspec.py"}
    installed.run("narration-cleanup", "--version", more=foreign)


def test_it_is_compiled_once_by_root(installed: Machine) -> None:
    """A unit's sandbox and an ordinary user cannot, and would pay for it at each start."""
    package = installed.tree / "usr/lib/narration-cleanup/narration_cleanup"
    compiled = {path.name.partition(".")[0] for path in package.glob("__pycache__/*.pyc")}
    assert compiled == {path.stem for path in package.glob("*.py")}


def test_the_manual_pages_are_found_and_without_fault(installed: Machine) -> None:
    for name, section in (("narration-cleanup", "1"), ("narration-cleanup.toml", "5")):
        page = installed.run("man", section, name, more={"MANWIDTH": "80"}).stdout
        assert f"{name.upper()}({section})" in page
        assert installed.run("whatis", name).stdout.startswith(f"{name} ({section})")
        read = installed.run("man", "--warnings", section, name, more={"MANROFFOPT": "-ww"})
        assert read.stderr == ""


@pytest.mark.parametrize(
    ("shell", "prepare"),
    [
        (("bash", "--norc", "-i"), ". /usr/share/bash-completion/bash_completion\n"),
        (("zsh", "-f", "-i"), "autoload -Uz compinit && compinit -u -D\n"),
    ],
    ids=["bash", "zsh"],
)
def test_shells_complete_commands_and_the_numbers_of_runs(
    installed: Machine, shell: tuple[str, ...], prepare: str
) -> None:
    """The line is finished by tabs alone, and what it then does is seen."""
    keys = f"{prepare}narration-cleanup hist\tsh\t\t\n"
    shown = installed.typed(shell, keys, until="exit code 0", more=CONFIG)
    assert re.search(r"run +1, version", shown)


@pytest.mark.parametrize(
    ("shell", "prepare"),
    [
        (("bash", "--norc", "-i"), ". /usr/share/bash-completion/bash_completion\n"),
        (("zsh", "-f", "-i"), "autoload -Uz compinit && compinit -u -D\n"),
    ],
    ids=["bash", "zsh"],
)
def test_shells_show_what_there_is(
    installed: Machine, shell: tuple[str, ...], prepare: str
) -> None:
    shown = installed.typed(shell, f"{prepare}narration-cleanup \t\t", until="dry-run")
    assert "command not found" not in shown


def test_fish_completes_commands_and_values(installed: Machine) -> None:
    def offered(line: str) -> list[str]:
        asked = installed.run("fish", "-c", f"complete -C {line!r}", more=CONFIG).stdout
        return [each.partition("\t")[0] for each in asked.splitlines()]

    assert offered("narration-cleanup dry") == ["dry-run"]
    assert offered("narration-cleanup history show ") == ["1"]
    assert offered("narration-cleanup run --log-format ") == ["text", "json"]
    assert f"{DEMO}/requests.db" in offered(f"narration-cleanup run --requests-db {DEMO}/")


def test_the_units_are_there_and_not_enabled(installed: Machine) -> None:
    units = sorted((installed.tree / "usr/lib/systemd/system").glob("narration-cleanup*"))
    assert len(units) == 5
    names = [f"/usr/lib/systemd/system/{unit.name}" for unit in units]
    assert installed.run("systemd-analyze", "verify", "--man=no", *names).stderr == ""
    assert not list((installed.tree / "etc/systemd/system").rglob("narration-cleanup*"))


def test_purged_it_leaves_only_what_the_user_made(machine: tuple[Machine, Files]) -> None:
    """The last test of its system: what the program made, as units and as root, is there too."""
    installed, before = machine
    users = {
        "/etc/narration-cleanup": None,
        "/etc/narration-cleanup/config.toml": f'[cache]\ndir = "{DEMO}/cache/narration"\n',
        "/etc/systemd/system/narration-cleanup.service.d": None,
        "/etc/systemd/system/narration-cleanup.service.d/override.conf": "[Service]\nNice=19\n",
        "/etc/systemd/system/narration-cleanup-mine.service": "[Service]\nExecStart=true\n",
    }
    for name, text in users.items():
        if text is not None:
            installed.write(name, text)
    installed.run("narration-cleanup", "run", more={"STATE_DIRECTORY": STATE})
    assert (installed.tree / f"{STATE.lstrip('/')}/history.db").is_file()
    printed = installed.run(
        "narration-cleanup", "systemd", "install", "--print", more=CONFIG
    ).stdout
    parts = re.split(r"^# (/etc/systemd/system/[\w@.-]+)\n", printed, flags=re.MULTILINE)[1:]
    written = dict(zip(parts[::2], parts[1::2], strict=True))
    assert len(written) == 3
    for name, text in written.items():
        installed.write(name, text)

    installed.write("/etc/narration-cleanup/notify/alerts.urls", "json://a.example")
    installed.write("/etc/narration-cleanup/notify@voices/alerts.urls", "json://a.example")

    sandbox = {name: about for name, about in installed.files().items() if name.startswith("/srv/")}
    installed.run("apt-get", "purge", "--yes", "narration-cleanup")

    after = installed.files()
    made = {name for name in after if name not in before and not name.startswith("/srv/")}
    assert made == set(users)
    assert {name for name in before if name not in after} == set()
    files = {name for name in before if len(before[name]) > 3}
    assert {name for name in files if before[name] != after[name]} == set()
    assert {name: about for name, about in after.items() if name.startswith("/srv/")} == sandbox
