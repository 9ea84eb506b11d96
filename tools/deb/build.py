"""The package's tree, and the package made of it: the same bytes wherever it is built."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from narration_cleanup import __version__
from tools.deb.dependencies import PYTHONS, bring_together, described
from tools.deb.scripts import LAUNCHER, POSTINST, POSTRM, PRERM
from tools.docs.console import ROOT

NAME = "narration-cleanup"
LIBRARY = f"usr/lib/{NAME}"

_PLACES = {
    f"completions/{NAME}.bash": f"usr/share/bash-completion/completions/{NAME}",
    f"completions/_{NAME}": f"usr/share/zsh/vendor-completions/_{NAME}",
    f"completions/{NAME}.fish": f"usr/share/fish/vendor_completions.d/{NAME}.fish",
}
_COMPRESSED = {
    f"man/{NAME}.1": f"usr/share/man/man1/{NAME}.1.gz",
    f"man/{NAME}.toml.5": f"usr/share/man/man5/{NAME}.toml.5.gz",
    "CHANGELOG.md": f"usr/share/doc/{NAME}/changelog.gz",
}

_CONTROL = """\
Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: the narration-cleanup authors
Installed-Size: {size}
Depends: python3 (>= {oldest}), python3 (<< {too_new}), libc6 (>= 2.28)
Recommends: tzdata
Section: admin
Priority: optional
Description: clean the cache and the requests of a narration service
 Removes expired audio from a text-to-speech narration cache, cancels generation
 requests that were abandoned, and reports what it did.
 .
 Runs unattended, next to a live service that reads and writes the same files.
 Nothing runs before: narration-cleanup systemd install.
"""

_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: {name}
Comment: In /usr/lib/{name} lie, beside the program itself and under their own
 licences, the packages that it depends on; the text of each licence is in the
 NAME-VERSION.dist-info folder there:
{packages}

Files: *
Copyright: the narration-cleanup authors
License: MIT
{licence}
"""


def epoch() -> int:
    """The time that everything in the package bears: $SOURCE_DATE_EPOCH, else the last commit's,
    which in an archive of the sources is that of each file."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    with suppress(OSError, subprocess.CalledProcessError):
        return int(_output("git", "-C", str(ROOT), "log", "-1", "--format=%ct"))
    return int((ROOT / "pyproject.toml").stat().st_mtime)


def build_deb(folder: Path) -> Path:
    """Build the package into `folder`; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    moment = epoch()
    os.environ["SOURCE_DATE_EPOCH"] = str(moment)  # for dpkg-deb, and for the wheel
    with tempfile.TemporaryDirectory(prefix="narration-deb-") as work:
        root = Path(work) / "root"
        fill(root, Path(work), moment)
        architecture = _output("dpkg", "--print-architecture").strip()
        _control(root, architecture)
        _even_out(root, moment)
        target = folder / f"{NAME}_{debian_version()}_{architecture}.deb"
        _output("dpkg-deb", "--root-owner-group", "-Zzstd", "--build", str(root), str(target))
    return target


def debian_version() -> str:
    """The version as Debian sorts it: a pre-release comes before its release."""
    version = __version__
    for mark in ("a", "b", "rc", ".dev"):
        version = version.replace(mark, f"~{mark.strip('.')}")
    return version


def fill(root: Path, work: Path, moment: int) -> None:
    """Everything but Debian's own folder."""
    wheel = _wheel(work / "wheel")
    bring_together(wheel, root / LIBRARY, work)
    _write(root / f"usr/bin/{NAME}", LAUNCHER.encode(), executable=True)
    for source, place in _PLACES.items():
        _write(root / place, (ROOT / source).read_bytes())
    for document, its_place in _documents():
        _write(root / "usr" / its_place, document.read_bytes())
    for source, place in _COMPRESSED.items():
        _write(root / place, gzip.compress((ROOT / source).read_bytes(), 9, mtime=moment))
    for unit in sorted((ROOT / "systemd").iterdir()):
        _write(root / "usr/lib/systemd/system" / unit.name, unit.read_bytes())
    _write(root / f"usr/share/doc/{NAME}/copyright", _copyright(root).encode())
    (root / f"etc/{NAME}").mkdir(parents=True)


def _documents() -> Iterator[tuple[Path, Path]]:
    """The documents that the wheel has too, and their places below `/usr`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shared: dict[str, str] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    for name, place in sorted(shared.items()):
        if place.startswith("share/doc/"):
            files = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*"))
            for file in filter(Path.is_file, files):
                if "__pycache__" not in file.parts:
                    yield file, Path(place, file.relative_to(ROOT / name))


def _wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "HATCH_QUIET": "1"})
    (wheel,) = folder.glob("*.whl")
    return wheel


def _copyright(root: Path) -> str:
    packages = [
        f" {name} {version}: {licence}"
        for name, version, licence in described(root / LIBRARY)
        if name != NAME
    ]
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8").strip()
    indented = "\n".join(f" {line}" if line else " ." for line in licence.splitlines())
    return _COPYRIGHT.format(name=NAME, packages="\n".join(packages), licence=indented)


def _control(root: Path, architecture: str) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  "
        f"{path.relative_to(root)}\n"
        for path in files
    ]
    newest = PYTHONS[-1].split(".")
    control = _CONTROL.format(
        name=NAME,
        version=debian_version(),
        architecture=architecture,
        size=sum(-(-path.stat().st_size // 1024) for path in files),
        oldest=PYTHONS[0],
        too_new=f"{newest[0]}.{int(newest[1]) + 1}",
    )
    place = root / "DEBIAN"
    _write(place / "control", control.encode())
    _write(place / "md5sums", "".join(sums).encode())
    for name, script in (("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)):
        _write(place / name, script.encode(), executable=True)


def _write(path: Path, data: bytes, *, executable: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o755 if executable else 0o644)


def _even_out(root: Path, moment: int) -> None:
    """The same modes and times for all, whoever builds it and whenever."""
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        elif LIBRARY in str(path):
            path.chmod(0o644)
        os.utime(path, (moment, moment))


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"{command[0]} is not here: a Debian package is built on Debian")
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
