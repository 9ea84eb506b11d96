"""One family of errors: each is one line for the operator and knows its exit code."""

from __future__ import annotations

import re
import sys

from narration_cleanup.core.exit_codes import ExitCode
from narration_cleanup.core.text import printable, printable_line

TROUBLESHOOTING = "docs/troubleshooting.md"
"""Where each code is explained, in the repository and below ``share/doc/narration-cleanup``."""
_CODE = re.compile(r" \[[a-z_]+\]$")


def with_code(line: str, exit_code: ExitCode) -> str:
    """``line`` about a command that could not be done, ended by ``[bad_configuration]`` or the
    like, to search the troubleshooting page for. A line that has its own code keeps that."""
    signalled = exit_code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED)
    return line if signalled or _CODE.search(line) else f"{line} [{exit_code.name.lower()}]"


def settings_warning(text: str) -> str:
    """The line about a fault of the settings that does not stop a command."""
    return f"WARNING - {with_code(printable_line(text), ExitCode.BAD_CONFIGURATION)}"


class CleanupError(Exception):
    """Anything foreseeable that stops a command. ``str()`` is one line: what, where, what to do."""

    exit_code: ExitCode = ExitCode.FAILED


class ConfigError(CleanupError):
    """Settings, or the place they point to, are wrong; every fault found is one line."""

    exit_code = ExitCode.BAD_CONFIGURATION

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class RefusedError(CleanupError):
    """It could be done, but it would not be safe; nothing was touched."""

    exit_code = ExitCode.REFUSED


class BusyError(CleanupError):
    """Another run holds the lock; nothing was touched."""

    exit_code = ExitCode.BUSY


class TargetError(CleanupError):
    """One target (cache or requests) cannot be worked on; the other continues.

    ``code`` is the machine-readable name that the report's problem gets.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class IndexChangedError(CleanupError):
    """The index was rewritten while it was being read; reading it again may succeed.

    ``size`` is what it had in bytes: a larger one takes the service longer to write.
    ``rewritten``: it was seen to change, and so is not merely torn.
    """

    def __init__(self, message: str, size: int = 0, *, rewritten: bool = False) -> None:
        super().__init__(message)
        self.size, self.rewritten = size, rewritten


class IndexFormatError(CleanupError):
    """The index is not in the form that is set, and will not be when it is read again."""


def to_target_error(error: BaseException, code: str) -> TargetError:
    """What stops a target: ``error`` itself, a fault of the disk with what and where (``code``), or
    one that was not foreseen (``internal_error``). An error that stops both is raised again."""
    if isinstance(error, TargetError):
        return error
    if isinstance(error, CleanupError):
        raise error
    if isinstance(error, MemoryError):
        return TargetError("out_of_memory", "more memory is needed than there is or is allowed")
    if isinstance(error, UnicodeEncodeError) and sys.getfilesystemencoding() != "utf-8":
        what = f"the locale's encoding ({error.encoding}) cannot hold the name of a file"
        return TargetError("locale", f"{what}: set LC_ALL=C.UTF-8, or the service's locale")
    if not isinstance(error, OSError):
        return TargetError("internal_error", internal_error(error))
    where = f"{printable(error.filename)}: " if error.filename else ""
    return TargetError(code, f"{where}{error.strerror}; look at the disk and its permissions")


def internal_error(error: BaseException) -> str:
    """One line about an error that was not foreseen, with the line of code that raised it."""
    trace, where = error.__traceback__, ""
    while trace is not None:
        where = f" ({trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return f"internal error: {type(error).__name__}: {printable(error)}{where}; please report it"
