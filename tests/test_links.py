"""Every relative link in the documents leads to a file, and to a heading that is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_OTHER_PLACES = ("https://", "http://", "mailto:")


def anchors(text: str) -> set[str]:
    """The headings of a document, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub(_shown, text), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def _shown(code: re.Match[str]) -> str:
    """What is left of code where headings are looked for: nothing of a block, a word's text."""
    return "" if code[0].startswith("```") else code[0].strip("`")


def broken_links(document: Path) -> list[str]:
    """The relative links in ``document`` that lead nowhere."""
    broken = []
    for link in _LINK.findall(_CODE.sub("", document.read_text(encoding="utf-8"))):
        if link.startswith(_OTHER_PLACES):
            continue
        name, _, heading = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        found = target.exists()
        if found and heading:
            found = heading in anchors(target.read_text(encoding="utf-8"))
        if not found:
            broken.append(link)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `code` heading\n"
        "[a](page.md) [b](other.md) ![c](pictures/c.svg) [d](#one-code-heading)\n"
        "[e](page.md#nothing) [f](https://example.org/x) `[g](in-code.md)`\n"
        "```\n# no heading\n[h](in-a-block.md)\n```\n[i](#no-heading)\n"
    )
    assert broken_links(page) == [
        "other.md",
        "pictures/c.svg",
        "page.md#nothing",
        "#no-heading",
    ]


def test_the_man_page_leads_to_the_troubleshooting_page() -> None:
    page = (ROOT / "man" / "narration-cleanup.1").read_text().replace("\\-", "-")
    assert "docs/troubleshooting.md" in page
    assert (ROOT / "docs" / "troubleshooting.md").is_file()
