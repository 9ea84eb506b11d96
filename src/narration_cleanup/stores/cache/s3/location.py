"""A place in a bucket: how it is named and reached."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from narration_cleanup.core.deadline import Deadline
from narration_cleanup.core.errors import ConfigError, TargetError
from narration_cleanup.core.text import printable
from narration_cleanup.stores.cache.s3.errors import UNREACHABLE, to_target_error

if TYPE_CHECKING:
    from obstore import ObjectMeta

OWN_FOLDER = ".narration-cleanup/"
"""Where the tool keeps what is its own: a mark, to read the server's clock and to try it out by."""
_MARK = f"{OWN_FOLDER}clock"
_NO_VERSION = '"00000000000000000000000000000000"'
PAGE = 1_000
"""Objects in one page of a listing, and names in one request to delete: the most S3 allows."""
_ADDRESSES = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AWS_METADATA_ENDPOINT",
)
_RETRIES = 8
_RETRY_FOR = timedelta(seconds=10)
_LEFT_ALONE = 20.0


class S3Location:
    """A prefix in a bucket. ``location`` is how it is shown; keys never come into it.

    Throttled and dropped requests are tried again with growing pauses, for ten seconds.
    """

    def __init__(self, url: str) -> None:
        """Raises ``ConfigError`` where ``url`` is not ``s3://bucket/prefix``."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        parts = prefix.removesuffix("/").split("/") if prefix else []
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", bucket):
            raise ConfigError(
                "cache.dir: s3:// is followed by the name of a bucket, as in s3://bucket/prefix; "
                "keys and the server's address come from AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL"
            )
        # What follows a question mark may be a secret, in an address of another program's form.
        if any(part in ("", ".", "..") or not part.isprintable() or "?" in part for part in parts):
            raise ConfigError("cache.dir: a prefix has no empty parts, no . and no .., and no ?")
        self._bucket = bucket
        self._prefix = "/".join(parts)
        self.location = printable("/".join(["s3:/", bucket, *parts]))
        self.store = self._open()
        self._ahead = 0.0
        self._gone: tuple[TargetError, Deadline] | None = None

    def names(self) -> tuple[str, str]:
        """The paths by which an index may name this place, as if they were a directory's."""
        path = "/".join([self._bucket, self._prefix]).rstrip("/")
        return f"/{path}", f"s3://{path}"

    def is_also(self, folder: str) -> bool:
        """Never: a bucket has no other path than its own."""
        return False

    def holds(self, name: str) -> bool:
        """Never: in a bucket a backslash is a separator."""
        return False

    def server_now(self) -> float:
        """The server's clock, or up to a second before it; this machine's before ``try_out``."""
        return time.time() + self._ahead

    def try_out(self) -> None:
        """Write the mark: is that allowed, what time is it there, and is a put on a wrong version
        refused? A server that ignores If-Match cannot keep an index whole: ``ConfigError``."""
        with self.translated_errors():
            obstore.put(self.store, _MARK, b"")
            written = obstore.head(self.store, _MARK)["last_modified"].timestamp()
        self._ahead = written - time.time()
        modes: tuple[obstore.PutMode, ...] = ({"e_tag": _NO_VERSION}, "create")
        for mode in modes:
            try:
                with self.translated_errors(PreconditionError, AlreadyExistsError):
                    obstore.put(self.store, _MARK, b"", mode=mode)
            except (PreconditionError, AlreadyExistsError):
                continue
            raise ConfigError(
                f"{self.location}: this server ignores If-Match, so an index in it cannot be "
                'changed without losing what others write: use another, or cache.index = "none"'
            )

    def count_older(self, files: Iterable[str], instant: float) -> int:
        """How many of ``files`` are there and were last written before ``instant``."""
        older = 0
        for name in files:
            with suppress(FileNotFoundError), self.translated_errors(FileNotFoundError):
                older += obstore.head(self.store, name)["last_modified"].timestamp() < instant
        return older

    def _open(self) -> S3Store:
        _refuse_wrong_addresses()
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        try:
            return S3Store(
                self._bucket,
                prefix=self._prefix or None,
                client_options={
                    "allow_http": (endpoint or "").startswith("http://"),
                    "connect_timeout": timedelta(seconds=5),
                    "read_timeout": timedelta(seconds=60),
                    "timeout": timedelta(minutes=10),
                },
                retry_config={
                    "max_retries": _RETRIES,
                    "retry_timeout": _RETRY_FOR,
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=100),
                        "max_backoff": timedelta(seconds=2),
                        "base": 2,
                    },
                },
            )
        except (BaseError, ValueError):
            # Its message may repeat a variable: it is not shown.
            raise ConfigError(
                "cache.dir: the AWS_* variables do not describe an S3 server (AWS_ENDPOINT_URL, "
                "AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            ) from None

    @contextmanager
    def translated_errors(self, *but: type[Exception]) -> Iterator[None]:
        """Turn errors of the server or the network into a ``TargetError``; all ``but`` these.

        A server that was just waited for in vain is not asked again for a while.
        """
        if self._gone is not None and not self._gone[1].passed:
            raise self._gone[0]
        try:
            yield
        except but:
            raise
        except BaseException as error:
            translated = to_target_error(error, self.location)
            if translated is None:
                raise
            if translated.code == UNREACHABLE:
                self._gone = translated, Deadline(_LEFT_ALONE)
            raise translated from None


def etag_of(meta: ObjectMeta) -> str:
    """The object's version; an object without one gets a new version with each change of time."""
    return meta["e_tag"] or f"{meta['size']}-{meta['last_modified'].isoformat()}"


def _refuse_wrong_addresses() -> None:
    """Raise ``ConfigError`` where a variable holds no address: the library would panic."""
    for name in _ADDRESSES:
        value = os.environ.get(name)
        if value is None:
            continue
        try:
            address = urlsplit(value)
            is_right = address.scheme in ("http", "https") and bool(address.hostname)
            is_right = is_right and (address.port or 1) > 0 and not re.search(r"\s", value)
        except ValueError:
            is_right = False
        if not is_right:
            what = "is empty" if not value.strip() else "is not an address"
            raise ConfigError(
                f"cache.dir: {name} {what}: it begins with http:// or https:// and names a server; "
                "or unset it"
            )
