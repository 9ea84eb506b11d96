"""Whether the word for a cancelled request is one that the service's table knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from narration_cleanup.core.errors import TargetError
from narration_cleanup.core.model import RequestStatus
from narration_cleanup.core.text import printable
from narration_cleanup.stores.requests.mapping import Statuses, forms_of

_SPELLINGS = frozenset({"cancelled", "canceled"})
_STYLES: tuple[Callable[[str], str], ...] = (str.upper, str.lower, str.capitalize)
_LITERAL = re.compile(r"'((?:[^']|'')*)'|(?<![\w.])(-?[0-9]+)(?![\w.])", re.ASCII)

_NUMBER = re.compile(r"-?[0-9]+", re.ASCII)


def literals_in(condition: str) -> tuple[str, ...]:
    """The texts and whole numbers in an SQL condition, each as text."""
    found = _LITERAL.finditer(condition)
    return tuple(each[2] or each[1].replace("''", "'") for each in found)


def check_cancelled_word(
    found: Collection[object], allowed: Collection[str], statuses: Statuses, where: str
) -> None:
    """Raise ``TargetError`` where the word that a run writes is none of the table's own.

    ``found``: the raw statuses of its rows; ``allowed``: those that an enum or a CHECK allows,
    none where there is neither. A table without a cancelled row says nothing about its spelling,
    except by the case that all its words are in, and by numbers in place of words.
    """
    word = str(statuses.cancelled[0])
    ignored = {form for each in statuses.ignored for form in forms_of(each)}
    words = {each for each in found if isinstance(each, str) and each not in ignored}
    if allowed and word not in allowed:
        near = [each for each in allowed if _is_like(each, word)]
        wanted = near[0] if near else None
        raise _refusal(where, word, wanted, f"it can only have {', '.join(allowed)}")
    meanings = statuses.words()
    known = {meanings.get(each) for each in found if isinstance(each, (str, int, float))}
    if RequestStatus.CANCELLED in known:
        return
    for each in sorted(words):
        if _is_like(each, word):
            raise _refusal(where, word, each, f"it has rows in the status {each}")
    cased = [each for each in words if each.lower() != each.upper()]
    if cased and statuses.cancelled == Statuses().cancelled and not allowed:
        for style in _STYLES:
            if style(word) != word and all(style(each) == each for each in cased):
                has = f"all its statuses are in the case of {min(cased)}"
                raise _refusal(where, word, style(word), has)
    raws = {str(each) for each in found if isinstance(each, (str, int))} - ignored
    is_number = _NUMBER.fullmatch
    if known - {None} and not is_number(word) and not allowed and all(map(is_number, raws)):
        raise _refusal(where, word, None, "all its statuses are numbers")


def _is_like(one: str, word: str) -> bool:
    one, word = one.strip().casefold(), word.casefold()
    return one == word or (one in _SPELLINGS and word in _SPELLINGS)


def _refusal(where: str, word: str, wanted: str | None, evidence: str) -> TargetError:
    remedy = f'set requests.statuses.cancelled = ["{wanted}"]'
    if wanted is None:
        remedy = "set requests.statuses.cancelled to one of them, or allow it in the table"
    message = f"{where}: {printable(word)} is no status of this table ({printable(evidence)})"
    return TargetError("foreign_word", f"{message}: {printable(remedy)}")
