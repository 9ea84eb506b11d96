"""The documents show the program as it is: every command in them is run, every picture drawn."""

import pytest

from tools.docs.console import ROOT, blocks_without_reason, with_real_output
from tools.docs.made import documents, made_files

AGAIN = "stale: run `python3 dev.py docs`"


@pytest.mark.parametrize("name", documents())
def test_a_documents_commands_print_what_it_shows(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert with_real_output(text) == text, AGAIN


@pytest.mark.parametrize("name", documents())
def test_what_a_document_does_not_run_it_gives_a_reason_for(name: str) -> None:
    assert blocks_without_reason((ROOT / name).read_text(encoding="utf-8")) == []


def test_the_files_made_from_the_program_are_up_to_date() -> None:
    stale = [
        name
        for name, text in made_files()
        if name not in documents() and (ROOT / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], AGAIN


def test_output_that_is_not_the_real_one_is_noticed() -> None:
    shown = "\n```console\n$ echo real\nmade up\n```\n"
    assert with_real_output(shown) == "\n```console\n$ echo real\nreal\n```\n"


def test_a_block_that_is_not_run_needs_a_reason() -> None:
    assert blocks_without_reason("text\n```sh\nrm x\n```\n") == ["rm x\n"]
    assert blocks_without_reason("<!-- not run: it needs root -->\n```sh\nrm x\n```\n") == []
