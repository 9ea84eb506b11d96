"""How names and ids from outside are shown: never able to change what a reader sees."""

from __future__ import annotations

SHOWN_LENGTH = 200
LINE_LENGTH = 2_000
"""A line of ours holds a few names, and ends in what to do: that must not be cut off."""


def printable(text: object, *, most: int = SHOWN_LENGTH) -> str:
    """``text`` with control, bidirectional and all other unprintable characters escaped.

    They become ``\\x..`` and ``\\u....``, as do spaces that only look like the space. At most
    ``most`` characters are shown, so that a 10 MB key stays one line.
    """
    whole = str(text)
    if len(whole) <= most and whole.isprintable():
        return whole
    cut = whole[:most]
    tail = f"… ({len(whole)} characters)" if len(whole) > most else ""
    return "".join(_shown_character(character) for character in cut) + tail


def printable_line(text: object) -> str:
    """The same for a whole line of ours: what, where, and what to do.

    One that is too long for it is cut in its middle, where the names are.
    """
    whole, half = str(text), LINE_LENGTH // 2
    if len(whole) <= LINE_LENGTH:
        return printable(whole, most=LINE_LENGTH)
    return printable(whole, most=half) + printable(whole[-half:], most=half)


def storable(text: str) -> str:
    """``text`` as any UTF-8 file can hold it: what a name has that is none becomes ``\\udc..``."""
    return text.encode("utf-8", "backslashreplace").decode()


def _shown_character(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
