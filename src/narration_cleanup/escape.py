"""How names and ids from outside are shown: never able to change what a reader sees."""

from __future__ import annotations

SHOWN_LENGTH = 200


def shown(text: object) -> str:
    """``text`` with control, bidirectional and all other unprintable characters escaped.

    They become ``\\x..`` and ``\\u....``, as do spaces that only look like the space. At most 200
    characters are shown, so that a 10 MB key stays one line.
    """
    whole = str(text)
    if len(whole) <= SHOWN_LENGTH and whole.isprintable():
        return whole
    cut = whole[:SHOWN_LENGTH]
    tail = f"… ({len(whole)} characters)" if len(whole) > SHOWN_LENGTH else ""
    return "".join(_shown_character(character) for character in cut) + tail


def _shown_character(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
