"""The documents show the program as it is: every command in them is run, every picture drawn."""

import ast
import json
import re

import pytest

from narration_cleanup.core.exit_codes import ExitCode
from tools.docs.console import ROOT, blocks_without_reason, with_real_output
from tools.docs.made import WHOLE, documents
from tools.docs.picture import pictures

AGAIN = "stale: run `python3 dev.py docs`"


@pytest.mark.parametrize("name", documents())
def test_a_documents_commands_print_what_it_shows(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert with_real_output(text) == text, AGAIN


@pytest.mark.parametrize("name", documents())
def test_what_a_document_runs_names_no_place_of_the_machine(name: str) -> None:
    """What is there, or is not, would decide what the document shows."""
    commands = re.findall(r"^\$ (.*)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    places = [re.findall(r"(?<=[ =])/(?!dev/)\S+", command) for command in commands]
    assert not any(places)


@pytest.mark.parametrize("name", documents())
def test_what_a_document_does_not_run_it_gives_a_reason_for(name: str) -> None:
    assert blocks_without_reason((ROOT / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.waits] if name == "docs/situations.md" else [])
        for name in WHOLE
    ],
)
def test_a_file_made_from_the_program_is_up_to_date(name: str) -> None:
    assert WHOLE[name]() == (ROOT / name).read_text(encoding="utf-8"), AGAIN


def test_the_pictures_are_up_to_date() -> None:
    folder = ROOT / "docs" / "pictures"
    stale = [name for name, svg in pictures().items() if (folder / name).read_text("utf-8") != svg]
    assert stale == [], AGAIN


def test_the_guarantees_have_the_published_figures() -> None:
    figures = json.loads((ROOT / "tests/faults/published.json").read_text("utf-8"))["figures"]
    starts = {
        "generated entries, 0 followed": ("a generated entry",),
        "runs next to a service": ("run beside the service", "the same on"),
        "races with a worker, 0 lost": ("an abandoned request",),
        "kills and": ("SIGKILL",),
        "power cuts: 0 losses": ("power cut",),
    }
    guarantees = " ".join((ROOT / "README.md").read_text("utf-8").split())
    for words, start in starts.items():
        found = [each for each in figures if each["fault"].startswith(start)]
        assert f"{sum(each['tries'] for each in found):,} {words}" in guarantees
        assert not any(each["losses"] or each.get("unfinished") for each in found)


def test_output_that_is_not_the_real_one_is_noticed() -> None:
    shown = "\n```console\n$ echo real\nmade up\n```\n"
    assert with_real_output(shown) == "\n```console\n$ echo real\nreal\n```\n"


def test_a_block_that_is_not_run_needs_a_reason() -> None:
    assert blocks_without_reason("text\n```sh\nrm x\n```\n") == ["rm x\n"]
    assert blocks_without_reason("<!-- not run: it needs root -->\n```sh\nrm x\n```\n") == []


def codes_in_the_source() -> set[str]:
    """Every code that a problem can have: written in a call, or in a table of faults."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = {"TargetError": 0, "Problem": 1, "_warning": 1}
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                arguments = node.args[place.get(node.func.id, len(node.args)) :][:1]
            elif isinstance(node, ast.Tuple) and path.name == "errors.py":
                arguments = node.elts[:1]
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code":
                arguments = [node.value]
            else:
                continue
            for each in arguments:
                value = each.value if isinstance(each, ast.Constant) else None
                if isinstance(value, str) and value.replace("_", "").isalpha():
                    found.add(value)
    return found


def test_every_problem_that_can_be_told_is_in_the_troubleshooting() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    codes = codes_in_the_source()
    assert {"index_unreadable", "outside_cache", "database_locked"} <= codes
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py"))
    named = re.findall(r"`([a-z_]+)`", " ".join(re.findall(r"^\| (`[a-z_]+`[^|]*)\|", page, re.M)))
    assert [code for code in named if f'"{code}"' not in source] == []


def test_every_exit_code_is_told_in_the_help_and_the_documents() -> None:
    from typer.main import get_command

    from narration_cleanup.cli.app import app

    told = (get_command(app).epilog or "", (ROOT / "README.md").read_text(encoding="utf-8"))
    for text in told:
        numbers = {int(number) for number in re.findall(r"\b\d+\b", text)}
        assert numbers >= set(ExitCode)
