"""What a bucket's server reports, in one line for the operator: what, where, what to do."""

from __future__ import annotations

import re

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.text import printable

UNREACHABLE = "bucket_unreachable"
_LONGEST = 160
_ADDRESS = re.compile(r"\bhttps?://\S+")
_FAULT = re.compile(r"<Code>(\w+)</Code>")


def to_target_error(error: BaseException, where: str) -> TargetError | None:
    """What an error of the server, the network or the library means; ``None`` of any other."""
    if isinstance(error, FileNotFoundError):
        message = f"{where}: there is no such bucket or object ({_reason(error)})"
        return TargetError("bucket_missing", message)
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return TargetError(
            "no_rights",
            f"{where}: the server does not allow it ({_reason(error)}): are the keys right? "
            "docs/remote.md lists the rights that they need",
        )
    if isinstance(error, (BaseError, ValueError)):
        return TargetError(UNREACHABLE, f"{where}: {_reason(error)}; the next run tries again")
    if type(error).__module__ == "pyo3_runtime":
        message = f"{where}: the library for buckets failed: {_reason(error)}"
        return TargetError("library_failed", message)
    return None


def _reason(error: BaseException) -> str:
    """The heart of a message of several lines, without addresses."""
    text = str(error)
    fault = _FAULT.search(text)
    if fault:
        return fault.group(1)
    first = _ADDRESS.sub("the server", text.partition("\n")[0])
    first = printable(first.rpartition(" - ")[2] or first)
    if "error sending request" in first:
        return "the server cannot be reached, or dropped the connection"
    return first if len(first) <= _LONGEST else first[: _LONGEST - 1] + "…"
