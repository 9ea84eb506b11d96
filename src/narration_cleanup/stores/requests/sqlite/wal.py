"""What the ``-wal`` file of a database that nobody has open holds, told without SQLite.

SQLite keeps no locks on this file, so reading it drops none that this process has.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_HEADER = struct.Struct(">IIII8s8s")
"""Magic number, version, page size, checkpoint number, salts, checksum; then the frames, of which
each is ``_FRAME`` and a page (https://www.sqlite.org/fileformat2.html#the_write_ahead_log)."""
_FRAME = struct.Struct(">II8s8s")
"""Page number, size of the database after a commit (else 0), the header's salts, checksum."""
_MAGIC = 0x377F0682
"""The last bit says in which order checksums are counted."""


def has_commit(wal: Path) -> bool:
    """Whether a transaction may be in there whole.

    Checksums are not counted: a frame with some sectors that never reached the disk may be taken
    for a commit, but no commit is overlooked. ``True`` also where it cannot be read: SQLite then
    says why.
    """
    try:
        with wal.open("rb") as file:
            return _has_commit(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _has_commit(file: BinaryIO) -> bool:
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return False
    magic, _, page_size, _, salts, _ = _HEADER.unpack(header)
    if magic & ~1 != _MAGIC:
        return False
    while len(frame := file.read(_FRAME.size)) == _FRAME.size:
        _, commit, salts_here, _ = _FRAME.unpack(frame)
        if salts_here != salts:
            return False  # what is left of the round before this one
        file.seek(page_size - 1, 1)
        if not file.read(1):
            return False  # killed in the middle of a page
        if commit:
            return True
    return False
