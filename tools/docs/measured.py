"""What was measured beside other tools, in the documents that show it."""

from __future__ import annotations

import json

from benchmarks.report import BEGIN, END, aims_table, read_aims
from tools.docs.console import ROOT

RESULTS = "benchmarks/results.json"


def with_measured(text: str) -> str:
    """A document with the table of aims between its marks, if it has them."""
    if BEGIN not in text:
        return text
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n\n{_table()}\n\n{END}{after}"


def _table() -> str:
    document = (ROOT / RESULTS).read_text(encoding="utf-8")
    facts = json.loads(document)
    machine = facts["machine"]
    lines = [
        f"Measured {facts['made_at'][:10]} by `python3 dev.py bench` ({machine['processors']} "
        f"processors, Linux {machine['kernel']}, Python {machine['python']}, "
        f"{machine['file_system']}):",
        "",
        *aims_table(read_aims(document)),
    ]
    return "\n".join(lines)
