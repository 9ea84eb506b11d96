"""A clean Debian tree to run commands in, and what has changed in it.

Not booted: the tree has the host's network and kernel, and a process namespace and mounts of its
own, which end with each command.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.systemd.container import base_tree, pip_command

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = re.compile(r"/(dev|proc|sys|run|tmp|root/\.[a-z_]+|var/(log|cache|lib/(apt|dpkg)))(/|$)")
"""What Debian's own programs write when any package comes or goes, and shells when they start."""

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "TERM": "xterm"}
_ENTER = (
    'tree=$1 && shift && mount --bind "$tree" "$tree" && '
    'mount -t proc proc "$tree/proc" && mount --rbind /dev "$tree/dev" && '
    'while [ "$1" != -- ]; do mount --bind "$1" "$tree$1" && shift; done && shift && '
    'exec chroot "$tree" "$@"'
)


def why_not() -> str | None:
    """The reason these tests cannot run here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "clean Debian systems need Linux and root"
    if shutil.which("mmdebstrap") is None and shutil.which("debootstrap") is None:
        return "neither mmdebstrap nor debootstrap is installed"
    if shutil.which("dpkg-deb") is None:
        return "dpkg-deb is not installed"
    return None


def require() -> None:
    """Skip the test where it cannot run."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


class Machine:
    """One clean tree; `lent` are files and folders of the host's seen at the same place in it."""

    def __init__(self, tree: Path, lent: Sequence[str] = ()) -> None:
        self.tree = tree
        self.lent = list(lent)
        for path in lent:
            self._make_room(Path(path))

    @classmethod
    def create(
        cls, tree: Path, suite: str, packages: Sequence[str], lent: Sequence[str] = ()
    ) -> Machine:
        """A fresh copy of the tree of a Debian release with some packages."""
        base = base_tree(suite, packages)
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(tree)], check=True)
        return cls(tree, lent)

    def _make_room(self, path: Path) -> None:
        """An empty file or folder to lay the host's over; links in the tree are put aside."""
        inside = self.tree / str(path).lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        if inside.is_symlink():
            inside.unlink()
        if path.is_dir():
            inside.mkdir(exist_ok=True)
        else:
            inside.touch()

    def command(
        self, *words: str, user: str = "root", more: Mapping[str, str] | None = None
    ) -> list[str]:
        """The host's command that runs one in the tree."""
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {**_ENVIRONMENT, "HOME": home, **(more or {})}
        given = [f"{name}={value}" for name, value in variables.items()]
        as_user = [] if user == "root" else ["runuser", "-u", user, "--"]
        return [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child"),
            *("sh", "-c", _ENTER, "sh", str(self.tree), *self.lent, "--"),
            *(*as_user, "env", "-i", *given, *words),
        ]

    def run(
        self,
        *words: str,
        user: str = "root",
        more: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the tree; with `check`, a failure is an error with its output."""
        done = subprocess.run(
            self.command(*words, user=user, more=more),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode != 0:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{shlex.join(words)} exited {done.returncode}\n{said}")
        return done

    def typed(self, command: Sequence[str], keys: str, until: str, **options: Any) -> str:
        """What a terminal shows when `keys` are typed into a program, up to the text `until`.

        AssertionError with what it showed where that text does not come within a minute.
        """
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", *self.command(*command, **options)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        alarm = threading.Timer(60, os.killpg, (process.pid, signal.SIGKILL))
        alarm.start()
        shown = ""
        try:
            os.write(controller, keys.encode())
            while until not in shown:
                shown += os.read(controller, 65_536).decode(errors="replace")
        except OSError as error:
            raise AssertionError(f"never showed {until!r}, only:\n{shown}") from error
        finally:
            alarm.cancel()
            process.kill()
            process.wait()
            os.close(controller)
        return shown

    def copy(self, source: Path, inside: str) -> None:
        """Copy a file or folder into the tree."""
        target = self.tree / inside.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)

    def write(self, inside: str, text: str) -> None:
        """Write a file in the tree, with its folders."""
        path = self.tree / inside.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def files(self) -> dict[str, tuple[object, ...]]:
        """Everything in the tree but `NOT_OURS`: kind, mode, owner, and a file's size and time."""
        found: dict[str, tuple[object, ...]] = {}
        for folder, folders, names in os.walk(self.tree):
            for name in [*folders, *names]:
                path = Path(folder) / name
                inside = f"/{path.relative_to(self.tree)}"
                about = path.lstat()
                of_file = () if name in folders else (about.st_size, about.st_mtime_ns)
                if not NOT_OURS.match(inside):
                    found[inside] = (about.st_mode, about.st_uid, about.st_gid, *of_file)
        return found


def working_copy(folder: Path) -> None:
    """The files of this checkout as a clone would have them, what is being added included."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def lent_pip() -> tuple[dict[str, str], list[str]]:
    """How this host's pip reaches its packages: variables, and the files that these name."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if re.fullmatch(
            r"PIP_(?!CONSTRAINT)\w+|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|\w+_proxy", name, re.I
        )
    }
    listed = subprocess.run(
        [*pip_command(), "config", "list"], check=True, capture_output=True, text=True
    ).stdout
    for key, value in re.findall(r"^global\.([\w-]+)='(.*)'$", listed, re.MULTILINE):
        variables.setdefault(f"PIP_{key.upper().replace('-', '_')}", value)
    named = " ".join(variables.values()).replace("file://", "").split()
    lent = [word.removesuffix("/simple") for word in named if word.startswith("/")]
    lent += ["/etc/resolv.conf", "/etc/hosts"]
    return variables, [path for path in dict.fromkeys(lent) if Path(path).exists()]
