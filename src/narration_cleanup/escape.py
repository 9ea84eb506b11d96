"""How names and ids from outside are shown: never able to change what a reader sees."""

from __future__ import annotations

import unicodedata

SHOWN_LENGTH = 200
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown(text: object) -> str:
    """``text`` with control, bidirectional and unprintable characters as ``\\x..``/``\\u....``.

    At most 200 characters are shown, so that a 10 MB key stays one line.
    """
    whole = str(text)
    if whole.isascii() and whole.isprintable() and len(whole) <= SHOWN_LENGTH:
        return whole
    cut = whole[:SHOWN_LENGTH]
    tail = f"… ({len(whole)} characters)" if len(whole) > SHOWN_LENGTH else ""
    return "".join(_shown_character(character) for character in cut) + tail


def _shown_character(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode("ascii")
