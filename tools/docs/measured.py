"""What was measured beside other programs, in the documents that show it."""

from __future__ import annotations

from benchmarks.report import BEGIN, END, aims_of, aims_table, read_report
from tools.docs.console import ROOT

RESULTS = "benchmarks/results.json"


def with_measured(text: str) -> str:
    """A document with the chief of the aims between its marks, if it has them."""
    if BEGIN not in text:
        return text
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    aims = [aim for aim in aims_of(read_report((ROOT / RESULTS).read_bytes())) if aim.headline]
    table = "\n".join(aims_table(aims))
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"
