"""Every document, log, page and message is what it was: see ``__main__``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.golden import normalise
from tests.golden.__main__ import DOCUMENTS, kept, made
from tests.golden.program import run_program
from tests.golden.situations import SITUATIONS

MOST_BYTES = 450_000


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_situation_gives_what_it_gave(name: str, tmp_path: Path) -> None:
    found, before = made(name, tmp_path / "g"), kept(name)
    assert sorted(found) == sorted(before), "python3 -m tests.golden --write keeps what there is"
    for file, text in found.items():
        assert text.splitlines() == before[file].splitlines(), f"{name}/{file}"
        assert text == before[file], f"{name}/{file}"


@cache
def _validator(command: str, root: Path) -> jsonschema.Draft202012Validator:
    schema = json.loads(run_program(["schema", command], root, {}).out)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def module_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("schemas")


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_documents_keep_to_their_schemas(name: str, module_path: Path) -> None:
    for file in sorted((DOCUMENTS / name).glob("*.json")):
        if file.name != "exit_codes.json":
            document = json.loads(file.read_text())
            _validator(_command(document), module_path).validate(document)


def _command(document: dict[str, Any]) -> str:
    """Which command's document it is, by a member that no other one has."""
    marks = {
        "checks": "check",
        "config_file": "config",
        "runs": "history",
        "actions": "run",
        "items": "explain",
        "generated_at": "stats",
        "installed": "systemd",
    }
    return next(command for member, command in marks.items() if member in document)


def test_what_is_kept_is_of_a_situation_and_is_not_much() -> None:
    assert {folder.name for folder in DOCUMENTS.iterdir()} == set(SITUATIONS)
    assert sum(file.stat().st_size for file in DOCUMENTS.glob("*/*")) < MOST_BYTES


def test_a_member_in_another_place_or_of_another_type_is_a_difference(tmp_path: Path) -> None:
    """The comparison is of the texts: neither order nor the type of a number is lost in them."""
    texts = {
        normalise.document(raw, tmp_path)
        for raw in ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', '{"a": 1.0, "b": 2}', '{"a": 1}')
    }
    assert len(texts) == 4
    with pytest.raises(AssertionError, match="twice"):
        normalise.document('{"a": 1, "a": 1}', tmp_path)
