"""A clean-up that renames an index which it has not synced, to try the power cuts on.

It writes whole files, compares nothing, and loses nothing as long as the power stays on.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from tests.faults.naive import understood


def main() -> None:
    """Clean the cache that is named."""
    _clean(understood().cache_dir)
    print(json.dumps({"actions": [], "problems": []}))
    sys.exit(0)


def _clean(directory: Path) -> None:
    index, new = directory / "cache_index.json", directory / "index.new"
    limit = (datetime.now() - timedelta(days=7)).isoformat()
    entries = json.loads(index.read_text())
    live = {key: fields for key, fields in entries.items() if fields["created_at"] > limit}
    new.write_text(json.dumps(live, indent=2))
    new.rename(index)
    folder = os.open(directory, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
