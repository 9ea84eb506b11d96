"""What the documents name is there: settings, variables, options, the rooms of the house."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import Context
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from narration_cleanup.cli.app import app
from narration_cleanup.core.files import NOTIFIED_BY
from narration_cleanup.report.history import SCHEDULED_BY
from narration_cleanup.settings import BY_NAME, load_settings
from narration_cleanup.settings.sources import FILE_VARIABLE
from narration_cleanup.settings.types import BY_VARIABLE, TABLES
from tools.docs.console import ROOT
from tools.docs.made import documents

KINDS = {"console", "sh", "toml", "sql", "json", "text", "python", "yaml"}
"""What a block may be: what is run, and why something is not, hangs on it."""
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_SETTING = re.compile(rf"({'|'.join(TABLES)})(\.[a-z_]+)+")
_FILES = (".db", ".toml", ".py", ".md", ".prom", ".damaged")
_VARIABLES = {FILE_VARIABLE, NOTIFIED_BY, SCHEDULED_BY, "NARRATION_BOOT_ID"}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def inline(name: str) -> list[str]:
    return _INLINE.findall(_BLOCK.sub("", text_of(name)))


def options(command: TyperCommand | TyperGroup, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command with its options: `history show`, and the groups too."""
    yield name.strip(), {each for one in command.params for each in one.opts} | {"-h", "--help"}
    if isinstance(command, TyperGroup):
        for inner in command.list_commands(Context(command)):
            found = command.get_command(Context(command), inner)
            assert isinstance(found, TyperCommand | TyperGroup)
            yield from options(found, f"{name} {inner}")


OPTIONS = dict(options(get_group(app)))


def unknown_options(line: str) -> list[str]:
    """Of one call in a document (`narration-cleanup -c FILE run --quiet`), what no command has."""
    words = re.split(r"[|#;&()'\",]| > ", line)[0].split()[1:]
    command = ""
    while words and words[0] in ("-c", "--config"):
        del words[:2]
    while words and f"{command} {words[0]}".strip() in OPTIONS:
        command = f"{command} {words.pop(0)}".strip()
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [word for word in given if word not in OPTIONS[command]]


@pytest.mark.parametrize("name", documents())
def test_every_block_says_what_it_is(name: str) -> None:
    assert {kind for kind, _ in _BLOCK.findall(text_of(name))} <= KINDS


@pytest.mark.parametrize("name", documents())
def test_every_configuration_that_is_shown_is_valid(name: str, tmp_path: Path) -> None:
    for number, (kind, body) in enumerate(_BLOCK.findall(text_of(name))):
        if kind == "toml":
            file = tmp_path / f"{number}.toml"
            file.write_text(body)
            load_settings(flags={}, config_file=file, environ={"HOME": str(tmp_path)})


@pytest.mark.parametrize("name", documents())
def test_every_setting_that_is_named_is_one(name: str) -> None:
    spans = [span.partition(" = ")[0].strip('"') for span in inline(name)]
    named = [span for span in spans if _SETTING.fullmatch(span) and not span.endswith(_FILES)]
    named += [span for span in spans if span in ("requests.db", "requests.columns")]
    assert [each for each in named if each not in BY_NAME and each not in TABLES] == []


@pytest.mark.parametrize("name", documents())
def test_every_variable_that_is_named_is_one(name: str) -> None:
    named = {variable for span in inline(name) for variable in re.findall(r"NARRATION_\w+\b", span)}
    named = {variable for variable in named if not variable.endswith("_")}
    assert named - set(BY_VARIABLE) - _VARIABLES == set()


@pytest.mark.parametrize("name", documents())
def test_every_option_that_is_shown_is_one_of_its_command(name: str) -> None:
    calls = re.findall(r"narration-cleanup (?!-)[^`\n]*", text_of(name))
    calls += re.findall(r"narration-cleanup (?:-c|--config) [^`\n]*", text_of(name))
    assert [(call, found) for call in calls if (found := unknown_options(call))] == []


def test_what_is_no_option_is_noticed() -> None:
    assert unknown_options("narration-cleanup history show 3 --prometheus | head") == [
        "--prometheus"
    ]
    assert unknown_options("narration-cleanup -c x.toml run --ttl-days=3 -q && rm -r x") == []


def test_the_architecture_page_names_every_package_and_files_that_exist() -> None:
    package = ROOT / "src" / "narration_cleanup"
    packages = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    text = (ROOT / "CONTRIBUTING.md").read_text()
    spans = {span for span in inline("CONTRIBUTING.md") if span.endswith((".py", "/"))}
    assert packages - spans == set()
    steps = re.findall(r"`([a-z0-9_/]+/[a-z0-9_]+\.py)`", text)
    assert len(steps) >= 15
    assert [
        step for step in steps if not ((package / step).exists() or (ROOT / step).exists())
    ] == []
