"""The repository's promises about itself: who imports whom, how large a module may be."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.lock import INCLUDED

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "narration_cleanup"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Data flows one way: survey -> plan -> apply -> report. For each package, those that it may import
# besides itself; `__main__` alone imports `cli`.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "plan": frozenset({"core"}),
    "settings": frozenset({"core"}),
    "stores": frozenset({"core", "plan"}),
    "systemd": frozenset({"core", "settings"}),
    "demo": frozenset({"core", "settings"}),
    "apply": frozenset({"core", "plan", "stores"}),
    "report": frozenset({"core", "plan", "apply"}),
    "run": frozenset({"core", "plan", "settings", "stores", "systemd", "apply", "report"}),
    "check": frozenset({"core", "plan", "settings", "stores", "systemd", "apply", "report", "run"}),
    "cli": frozenset(
        {"core", "plan", "settings", "stores", "systemd", "demo", "apply", "report", "run", "check"}
    ),
    "__main__": frozenset({"cli"}),
    "__init__": frozenset(),
}
# What decides: no files, no clock, the standard library and msgspec's plain structs.
PURE = ("plan",)
# What a start must not pay for: brought in by the commands that need it.
HEAVY = ("rich", "prometheus_client", "apprise", "psycopg", "obstore", "jsonschema", "asyncio")


def package_of(path: Path) -> str:
    """The package that a module lies in: stores/cache/index.py -> stores."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(source: str, package: str) -> set[str]:
    """Every module or module.name that `source`, in `package`, imports anywhere, made absolute."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def packages_imported(names: set[str]) -> set[str]:
    """Of imported names, the packages of this project (its own __init__ holds only the version)."""
    own = (name.split(".") for name in names)
    return {parts[1] for parts in own if parts[0] == "narration_cleanup" and len(parts) > 1} - {
        "__version__"
    }


def imports_of(module: Path) -> set[str]:
    package = ".".join(["narration_cleanup", *module.relative_to(PACKAGE).parent.parts])
    return imported_names(module.read_text(), package)


def test_imports_are_read_in_every_form() -> None:
    """The rules below depend on this reader: absolute, relative, in functions, several at once."""
    source = (
        "import os.path, narration_cleanup.apply\n"
        "from narration_cleanup import plan as p, __version__\n"
        "def f():\n"
        "    from . import index\n"
        "    from ..result import Result\n"
        "    from .. import safety\n"
    )
    names = imported_names(source, "narration_cleanup.stores")
    assert names >= {"os.path", "narration_cleanup.stores.index", "narration_cleanup.safety"}
    assert packages_imported(names) == {"apply", "plan", "stores", "result", "safety"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_packages_import_only_what_they_may(module: Path) -> None:
    package = package_of(module)
    assert packages_imported(imports_of(module)) - {package} <= MAY_IMPORT[package]


def module_name(module: Path) -> str:
    """As it is imported: stores/cache/index.py -> narration_cleanup.stores.cache.index."""
    parts = ["narration_cleanup", *module.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_between(imported: dict[str, set[str]]) -> dict[str, set[str]]:
    """For each module, those among them that it imports: names that are none stand in one."""
    return {
        name: {each if each in imported else each.rpartition(".")[0] for each in names}
        & (imported.keys() - {name})
        for name, names in imported.items()
    }


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """The modules that reach themselves again by what they import, a set for each circle."""
    reached = {name: set(targets) for name, targets in imports.items()}
    for middle in imports:
        for name in imports:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    found: list[set[str]] = []
    for name in imports:
        if name in reached[name] and not any(name in circle for circle in found):
            found.append({other for other in reached[name] if name in reached[other]})
    return found


def test_no_modules_import_each_other() -> None:
    """Not even in functions: of two that need each other, a part belongs in a third."""
    names = {module_name(module): imports_of(module) for module in MODULES}
    assert circles(imports_between(names)) == []


def test_a_circle_is_noticed() -> None:
    imported = {
        "p": {"p.a.thing"},
        "p.a": {"p.b", "os.path"},
        "p.b": {"p.c.name"},
        "p.c": {"p.a", "p.d"},
        "p.d": {"p.d.itself"},
    }
    assert circles(imports_between(imported)) == [{"p.a", "p.b", "p.c"}]
    assert circles(imports_between({**imported, "p.c": {"p.d"}})) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_planner_knows_no_files_and_no_clock(module: Path) -> None:
    if package_of(module) in PURE:
        outside = {name.split(".")[0] for name in imports_of(module)} - {"narration_cleanup"}
        assert outside <= {*sys.stdlib_module_names, "msgspec"}
        assert not outside & {"io", "os", "pathlib", "shutil", "sqlite3", "subprocess", "time"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_small(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 400


def test_the_published_size_is_the_size() -> None:
    """Within a hundredth, so that not every change has to name it anew."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (published,) = re.findall(r"wc -l` \| 20,591 \| ([\d,]+) \|", text)
    lines = sum(len(module.read_text().splitlines()) for module in MODULES)
    assert abs(int(published.replace(",", "")) - lines) <= lines / 100


def test_start_up_brings_in_nothing_heavy() -> None:
    """The command line is loaded whole, and none of what only some commands need comes with it."""
    program = "import sys, narration_cleanup.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "narration_cleanup.cli.app" in loaded
    assert not loaded & set(HEAVY)


def own_files() -> list[str]:
    """The files of the repository, what is being added too; also where there is no git."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
        return [name for name in listing.decode().split("\0") if name]
    made = re.compile(r"(__pycache__|\.venv|\.cache|\.\w+_cache|\.hypothesis|build|dist)/")
    names = (str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file())
    return [name for name in names if not made.search(name)]


def own_texts() -> dict[str, str]:
    """The files of the repository that are text, by name."""
    texts = {}
    for name in own_files():
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b"\0"
        if b"\0" not in data:
            texts[name] = data.decode()
    return texts


# Written in pieces, so that this file does not hold them itself.
UNSAID = {
    "a package registry's host": r"pypi\." r"org|pythonhosted\." r"org|registry\.npmjs",
    "a package mirror's host": r"deb\.debian\." r"org|index-url\s*[=\s]\s*\w+:",
    "one machine's own folders": r"(?<![\w.}])/wor" r"k/|/tmp/(sample|v)\b",
    "a secret": r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY",
    "a conflict left in": r"^(<{7}|>{7}) ",
}


@pytest.mark.parametrize("what", UNSAID)
def test_no_file_holds(what: str) -> None:
    found = {
        f"{name}: {match.group()}"
        for name, text in own_texts().items()
        for match in re.finditer(UNSAID[what], text, re.MULTILINE)
    }
    assert not found


@pytest.mark.parametrize("name", INCLUDED)
def test_requirements_have_one_version_and_its_hashes_and_name_no_place(name: str) -> None:
    text = (ROOT / f"requirements/{name}.txt").read_text()
    pinned = r"[\w.-]+==[\w.]+( ; [\w<>!=.' ]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    rest = re.sub(pinned, "", text)
    assert rest == "".join(f"-r {other}.txt\n" for other in INCLUDED[name]) != text
