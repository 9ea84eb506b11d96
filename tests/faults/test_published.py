"""The documents show the figures that were measured, and nothing else."""

from __future__ import annotations

import json

import pytest

from tests.faults.figures import PUBLISHED, ROOT, published, with_figures


@pytest.mark.parametrize("document", ["docs/faults.md"])
def test_a_document_shows_the_published_figures(document: str) -> None:
    """After a new measurement: `python3 -m tests.faults.figures` writes them in."""
    text = (ROOT / document).read_text()
    assert published(notes=False) in text or published(notes=True) in text
    assert with_figures(text) == text


def test_they_are_those_of_a_full_session_without_losses() -> None:
    document = json.loads(PUBLISHED.read_text())
    assert document["full"]
    ours = [one for one in document["figures"] if not one["fault"].startswith("for comparison")]
    assert [one for one in ours if one["losses"]] == []
    assert len(ours) > 15
