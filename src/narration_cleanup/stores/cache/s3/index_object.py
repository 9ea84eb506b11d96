"""The index as an object: one version of it, known by its ETag, is fetched whole and held."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING

import obstore

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.s3.location import S3Location, etag_of

if TYPE_CHECKING:
    from obstore import Attributes

HELD_WHOLE = 1 << 22
"""An index of up to 4 MiB is held in memory; a larger one in a temporary file without a name."""


class IndexObject:
    """One version of the index. It cannot change: a server hands out whole objects."""

    def __init__(self, place: S3Location, name: str) -> None:
        """Raises ``ConfigError`` where there is no index, ``TargetError`` where it is "
        "unreadable."""
        self._file: IO[bytes] | None = None
        self._whole = b""
        try:
            with place.told(FileNotFoundError):
                fetched = obstore.get(place.store, name)
        except FileNotFoundError:
            raise ConfigError(missing_index(place, name)) from None
        self.etag = etag_of(fetched.meta)
        self.size = fetched.meta["size"]
        self.attributes: Attributes = fetched.attributes
        with place.told():
            if self.size <= HELD_WHOLE:
                self._whole = bytes(fetched.bytes())
                return
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
            for chunk in fetched.stream(min_chunk_size=1 << 20):
                self._file.write(chunk)

    def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``."""
        if self._file is None:
            return self._whole[offset : offset + size]
        self._file.seek(offset)
        return self._file.read(size)

    def check_unchanged(self) -> None:
        """Nothing: it is one version."""

    def close(self) -> None:
        """Let go of it."""
        if self._file is not None:
            self._file.close()


def missing_index(place: S3Location, name: str) -> str:
    """What to tell where there is no index."""
    return (
        f"{place.location} has no {printable(name)}: if it is the right place, start the service "
        'once, or say cache.index = "none" for a cache that has none'
    )
