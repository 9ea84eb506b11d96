"""A real systemd in a container, for tests: build a Debian tree, boot it, run commands in it.

The tree is Debian bookworm with systemd and Python and nothing of this project. It is built
once per list of packages and kept in ``/var/cache/narration-cleanup-tests`` (or in
``$NARRATION_CLEANUP_TESTS_CACHE``); every container boots a copy of its own. The container has
a private network, its own cgroups and its own clock of unit state; the host needs no systemd.

Everything here waits for events: readiness comes over ``NOTIFY_SOCKET``, the end from ``wait``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = "bookworm"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "python3",
    "python3-pip",
    "util-linux",
)
BOOT_TIMEOUT_S = 120.0
"""How long a boot may take before it counts as failed; a usual one takes under two seconds."""

WAIT_S = 60.0
"""How long an event may take to show in the journal before it counts as missing."""

_CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup"))
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str | None:
    """The reason no container can be booted here, or None when one can."""
    if sys.platform != "linux":
        return "systemd needs Linux"
    if os.geteuid() != 0:
        return "booting a container needs root"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed (Debian: systemd-container)"
    if shutil.which("mmdebstrap") is None and shutil.which("debootstrap") is None:
        return "neither mmdebstrap nor debootstrap is installed"
    return None


def cache_dir() -> Path:
    """Where trees and wheels are kept between test runs."""
    default = "/var/cache/narration-cleanup-tests"
    return Path(os.environ.get("NARRATION_CLEANUP_TESTS_CACHE", default))


def base_tree(suite: str = SUITE, packages: Sequence[str] = PACKAGES) -> Path:
    """The tree that containers are copies of; built when this list of packages has none yet."""
    names = " ".join((suite, platform.machine(), *packages))
    key = hashlib.sha256(names.encode()).hexdigest()[:12]
    cache = cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / f"base-{key}"
    with _locked(cache / f"lock-{key}"):
        if not tree.exists():
            building = cache / f"building-{key}"
            shutil.rmtree(building, ignore_errors=True)
            _bootstrap(building, suite, packages)
            building.rename(tree)
    return tree


def _bootstrap(tree: Path, suite: str, packages: Sequence[str]) -> None:
    include = f"--include={','.join(packages)}"
    if shutil.which("mmdebstrap") is not None:
        command = ["mmdebstrap", "--quiet", "--variant=apt", include]
    else:
        command = ["debootstrap", "--variant=minbase", include]
    done = subprocess.run(
        [*command, suite, str(tree)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        shutil.rmtree(tree, ignore_errors=True)
        raise RuntimeError(f"{command[0]} failed ({done.returncode}):\n{done.stdout}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Container:
    """One Debian tree that can be booted, stopped and booted again (which is a reboot)."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.name = f"nc-test-{os.getpid()}"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    @classmethod
    def create(cls, tree: Path) -> Container:
        """A container whose tree is a fresh copy of the base tree, not yet booted."""
        base = base_tree()
        subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(tree)], check=True)
        (tree / "etc/hostname").write_text("narration\n")
        return cls(tree)

    def start(self) -> None:
        """Boot, and come back when the boot is over; RuntimeError with the console if it fails."""
        ready = self.tree.parent / f"{self.name}.notify"
        console = self.tree.parent / f"{self.name}.console"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, console.open("wb") as out:
            with suppress(FileNotFoundError):
                ready.unlink()
            notify.bind(str(ready))
            notify.settimeout(BOOT_TIMEOUT_S)
            self._nspawn = subprocess.Popen(
                self._boot_command(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={
                    "PATH": os.environ.get("PATH", _PATH),
                    "NOTIFY_SOCKET": str(ready),
                    # Without it the container is given the host's hierarchy, and a host that
                    # mixes both kinds gives it one in which systemd 252 does not start.
                    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                },
                start_new_session=True,
            )
            try:
                self._leader = _wait_until_ready(notify)
            except TimeoutError:
                self.kill()
                raise RuntimeError(f"no boot: {console.read_text(errors='replace')}") from None
        state = self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()
        if state not in {"running", "degraded"}:
            raise RuntimeError(f"the booted system is {state!r}")

    def _boot_command(self) -> list[str]:
        nspawn = [
            *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--private-network"),
            *("--notify-ready=yes", "--console=pipe", "--link-journal=no"),
            *(f"--machine={self.name}", f"--directory={self.tree}"),
        ]
        if Path("/run/systemd/system").is_dir():
            return nspawn  # the host's systemd gives it a scope
        # No systemd here: the container lives in cgroups made for it, so that two of them (or a
        # container and the tests) never share one.
        joins = []
        for hierarchy in _CGROUPS:
            if (hierarchy / "cgroup.procs").exists():
                group = hierarchy / self.name
                with suppress(OSError):
                    group.mkdir(exist_ok=True)
                    joins.append(f"echo $$ > {group}/cgroup.procs;")
        return ["sh", "-c", f'{" ".join(joins)} exec "$@"', "sh", *nspawn, "--keep-unit"]

    def run(
        self, *command: str, user: str = "root", check: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as `user`; with `check`, a failure is an error with its output."""
        inside = list(command) if user == "root" else ["runuser", "-u", user, "--", *command]
        done = subprocess.run(
            [*self._enter(), *inside],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)} exited {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def _enter(self) -> list[str]:
        return [
            *("nsenter", "-t", str(self._leader), "--all", "--wdns=/"),
            *("env", "-i", f"PATH={_PATH}", "LANG=C.UTF-8", "HOME=/root"),
        ]

    def journal_cursor(self) -> str:
        """Where the journal ends now: what comes after it is what `wait_for` looks at."""
        shown = self.run("journalctl", "--show-cursor", "--lines=0", "--quiet").stdout
        return shown.strip().removeprefix("-- cursor: ")

    def wait_for(self, cursor: str, text: str) -> list[str]:
        """Follow the journal until a message holds `text`: the messages read.

        From `cursor` on; where that is empty, from the boot on. AssertionError after a minute
        without it. The whole journal is read: `--after-cursor` beside a filter loses a message.
        """
        follow = subprocess.Popen(
            [
                *self._enter(),
                *("journalctl", "--follow", "--quiet", "--output=cat"),
                *([f"--after-cursor={cursor}"] if cursor else ["--boot"]),
                "--no-tail",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        # nsenter starts a child for the process namespace: the group is what has to end.
        alarm = threading.Timer(WAIT_S, os.killpg, (follow.pid, signal.SIGKILL))
        alarm.start()
        messages = []
        assert follow.stdout is not None
        try:
            for line in follow.stdout:
                messages.append(line.rstrip("\n"))
                if text in line:
                    return messages
        finally:
            alarm.cancel()
            with suppress(ProcessLookupError):
                os.killpg(follow.pid, signal.SIGKILL)
            follow.wait()
            follow.stdout.close()
        raise AssertionError(f"the journal never said {text!r}, only:\n" + "\n".join(messages))

    def path(self, inside: str) -> Path:
        """Where a path of the container lies on the host."""
        return self.tree / inside.lstrip("/")

    def write(self, inside: str, text: str) -> None:
        """Write a file in the container's tree, with its folders."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def drop_in(self, unit: str, text: str) -> None:
        """Give a unit of the container a drop-in, as `systemctl edit` would, and reload."""
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        self.run("systemctl", "daemon-reload")

    def copy(self, source: Path, inside: str) -> None:
        """Copy a file or folder into the container, with its times."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", str(source), str(self.path(inside))], check=True)

    def stop(self) -> None:
        """Shut down in order, as a power button would, and wait for the end."""
        if self._nspawn is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._leader, signal.SIGRTMIN + 4)  # systemd: start poweroff.target
        try:
            self._nspawn.wait(timeout=BOOT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._forget()

    def reboot(self) -> None:
        """Stop and start: nspawn itself leaves a reboot to whoever started it."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End it at once, whatever state it is in."""
        if self._nspawn is not None:
            self._nspawn.kill()
            self._nspawn.wait()
            self._forget()

    def _forget(self) -> None:
        self._nspawn = None
        for hierarchy in _CGROUPS:
            group = hierarchy / self.name
            if group.is_dir():
                for folder, _, _ in os.walk(group, topdown=False):
                    with suppress(OSError):
                        os.rmdir(folder)


def _wait_until_ready(notify: socket.socket) -> int:
    """Read nspawn's notifications until it is ready: the process id of the container's init."""
    leader = 0
    while True:
        for line in notify.recv(4096).decode().splitlines():
            key, _, value = line.partition("=")
            if key == "X_NSPAWN_LEADER_PID":
                leader = int(value)
            elif line == "READY=1":
                return leader


def pip_command() -> Sequence[str]:
    """A pip that runs on the host; the virtual environment of the tests may have none."""
    for python in (sys.executable, "/usr/bin/python3", shutil.which("python3") or "python3"):
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return (python, "-m", "pip")
    raise RuntimeError("no pip to build the wheel with")
