"""Words in systemd's unit files: specifiers, variables and spaces in them are only themselves."""

from __future__ import annotations

from pathlib import Path

from narration_cleanup.core.text import printable


def word(given: str | Path, *, command: bool = False) -> str:
    """One word of a setting that holds several; with `command`, of an `ExecStart=` line.

    Raises ValueError for what a unit file cannot hold at all.
    """
    text = str(given)
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in text):
        raise ValueError(
            f"a unit file cannot hold {printable(text)}: it has control characters, or is not UTF-8"
        )
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if command:
        escaped = escaped.replace("$", "$$")
    plain = text and not any(char in text for char in " '\"\\;#")
    return escaped if plain else f'"{escaped}"'


def bound(path: Path, prefix: str = "") -> str:
    """A path to bind: there, a colon parts source and destination unless it is escaped. With the
    prefix ``-`` it may be missing."""
    return word(f"{prefix}{path}").replace(":", "\\:")


def assignment(name: str, value: str) -> str:
    """`NAME=value` as one word of `Environment=`."""
    return word(f"{name}={value}")
