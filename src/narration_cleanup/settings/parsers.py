"""What a setting's value may be: one `Parser` for each sort of value.

A value reaches the tool as text (variable, credential, flag) or as a TOML value. Text is first
turned into what TOML would have said (`from_text`), so that there is one rule for both (`parse`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

from narration_cleanup.core.timestamps import AUTO, fixed_offset

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Word = TypeVar("Word", bound=str)


class InvalidValueError(ValueError):
    """A value that does not fit, with what about it: words to follow what was expected."""


@dataclass(slots=True, eq=False, repr=False)
class Parser(Generic[T_co]):
    """How one sort of value is read: both functions raise `ValueError` for what does not fit."""

    expected: str
    parse: Callable[[object], T_co]
    from_text: Callable[[str], object] = str
    is_path: bool = False


@dataclass(frozen=True, slots=True)
class DeleteLimit:
    """How much one run may remove: a number of items, or a percentage of what is there."""

    amount: float
    percent: bool = False

    def allowed(self, total: int) -> int:
        """The number of items that may go where there are `total` of them, rounded down."""
        return math.floor(total * self.amount / 100) if self.percent else int(self.amount)

    def __str__(self) -> str:
        return f"{self.amount:.15g}%" if self.percent else str(int(self.amount))


def number(
    expected: str, *, above: float = -math.inf, least: float = -math.inf, most: float
) -> Parser[float]:
    """A finite number in a range. `most` keeps date arithmetic inside what a date can hold."""

    def parse(raw: object) -> float:
        if isinstance(raw, bool) or not isinstance(raw, (int, float)):
            raise ValueError
        if not (above < raw and least <= raw):  # false for NaN as well
            raise ValueError
        if raw > most:
            raise InvalidValueError(f"at most {most:.15g}")
        return float(raw)

    return Parser(expected, parse, float)


def whole(expected: str, *, least: int, most: int) -> Parser[int]:
    """A whole number in a range."""

    def parse(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or raw < least:
            raise ValueError
        if raw > most:
            raise InvalidValueError(f"at most {most}")
        return raw

    return Parser(expected, parse, int)


_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_WORDS |= {"false": False, "no": False, "off": False, "0": False}


def _switch(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError
    return raw


SWITCH = Parser("true or false", _switch, lambda text: _WORDS.get(text.lower()))
"""As text also yes/no, on/off and 1/0."""


def text_of(raw: object) -> str:
    """Text that is not empty, and holds neither a NUL nor what no file can be named by."""
    if not isinstance(raw, str) or not raw.strip() or "\0" in raw:
        raise ValueError
    raw.encode("utf-8", "surrogateescape")  # raises UnicodeEncodeError, a ValueError
    return raw


def choice(*words: Word) -> Parser[Word]:
    """One of a few words."""

    def parse(raw: object) -> Word:
        for word in words:
            if raw == word:
                return word
        raise ValueError

    return Parser(" or ".join(words), parse)


def _plain_name(raw: object) -> str:
    """No folder, no control characters, not the tool's own folder."""
    name = text_of(raw)
    if "/" in name or name in {".", "..", ".narration-cleanup"} or not name.isprintable():
        raise ValueError
    return name


PLAIN_NAME = Parser("one file name without a folder", _plain_name)
PATH = Parser("a path", lambda raw: Path(text_of(raw)).absolute(), is_path=True)
"""Made absolute against the current directory; links and `..` are left as they are."""

# Compiled where it is first used: start-up is paid by every command.
_CONNECTION_WORDS = r"\b(host|user|password|dbname)\s*="


def location(expected: str, *schemes: str) -> Parser[str]:
    """A path (made absolute) or a URL with one of `schemes`."""

    def parse(raw: object) -> str:
        place = text_of(raw)
        scheme, separator, rest = place.partition("://")
        if separator and scheme in schemes and rest:
            return place
        if "://" in place or place.startswith(tuple(f"{name}:" for name in schemes)):
            raise ValueError  # a URL with a slip in it would pass for a strangely named file
        if "postgresql" in schemes and re.search(_CONNECTION_WORDS, place):
            raise ValueError  # and so would libpq's other form
        return str(Path(place).absolute())

    return Parser(expected, parse, is_path=True)


def local_path(place: str | None) -> Path | None:
    """A location as a path of this machine; ``None`` where there is none, or where it is a URL."""
    return None if place is None or "://" in place else Path(place)


def _comma_list(source: str) -> list[str]:
    if source.startswith("[") and source.endswith("]"):
        raise InvalidValueError("without brackets and quotes here, as in a,b")
    return [part for part in (part.strip() for part in source.split(",")) if part]


def _unquoted_list(source: str) -> list[str]:
    return [_unquoted(part) for part in _comma_list(_unquoted(source.strip()))]


def _unquoted(text: str) -> str:
    """Without the quotes around it, which some readers of environment files leave in a value."""
    quote = text[:1]
    is_quoted = len(text) > 1 and quote in ("'", '"') and text.endswith(quote)
    return text[1:-1] if is_quoted and quote not in text[1:-1] else text


def names(
    expected: str,
    item: Callable[[str], str] = text_of,
    split: Callable[[str], object] = _unquoted_list,
) -> Parser[tuple[str, ...]]:
    """A list of text; as text, split at commas and without quotes unless `split` says otherwise."""

    def parse(raw: object) -> tuple[str, ...]:
        return _each(_several(raw), lambda part: item(text_of(part)))

    return Parser(expected, parse, split)


def _several(raw: object) -> Sequence[object]:
    """One value where a list is expected is a list of one."""
    if isinstance(raw, (list, tuple)):
        return raw
    if raw is None or isinstance(raw, Mapping):
        raise ValueError
    if isinstance(raw, str) and ("," in raw or raw[:1] == "["):
        raise ValueError
    return [raw]


def _each(raw: Sequence[object], item: Callable[[object], T]) -> tuple[T, ...]:
    found = []
    for number, part in enumerate(raw, 1):
        try:
            found.append(item(part))
        except ValueError:
            raise InvalidValueError(f"its item {number} is none") from None
    return tuple(found)


def suffix_of(raw: str) -> str:
    """A file name's suffix."""
    if not re.fullmatch(r"\.[^\s,/]+", raw) or not raw.isprintable():
        raise ValueError
    return raw


def status_values(expected: str, *, least: int = 0) -> Parser[tuple[str | int, ...]]:
    """Status words or numbers. As text, digits are a number and quotes keep them text."""

    def parse(raw: object) -> tuple[str | int, ...]:
        several = _several(raw)
        if len(several) < least:
            raise ValueError
        return _each(several, _status)

    def from_text(source: str) -> object:
        return [_status_from_text(part) for part in _comma_list(source)]

    return Parser(expected, parse, from_text)


def _status(part: object) -> str | int:
    if isinstance(part, int) and not isinstance(part, bool) and abs(part) < 2**63:
        return part
    return text_of(part)


def _status_from_text(part: str) -> str | int:
    if re.fullmatch(r"-?[0-9]+", part):
        return int(part)
    return part[1:-1] if len(part) > 2 and part[0] == part[-1] and part[0] in "'\"" else part


def by_name(expected: str, one: Parser[T], *, several: bool = False) -> Parser[Mapping[str, T]]:
    """A table of values; as text `name=value,name=value`, with a list of `several` of one name."""

    def parse(raw: object) -> Mapping[str, T]:
        if not isinstance(raw, Mapping):
            raise ValueError
        found: dict[str, T] = {}
        for name, value in raw.items():
            try:
                found[text_of(name)] = one.parse(value)
            except ValueError as error:
                limit = f", {error}" if isinstance(error, InvalidValueError) else ""
                raise InvalidValueError(f"{name} has none{limit}") from None
        return MappingProxyType(found)

    def from_text(source: str) -> object:
        found: dict[str, list[object]] = {}
        for part in _comma_list(source):
            name, sign, value = part.partition("=")
            if not sign or (name.strip() in found and not several):
                raise ValueError
            found.setdefault(name.strip(), []).append(one.from_text(value.strip()))
        return {name: values if several else values[0] for name, values in found.items()}

    return Parser(expected, parse, from_text)


def _column_values(raw: object) -> tuple[str | int | float | None, ...]:
    several = raw if isinstance(raw, (list, tuple)) else [raw]
    if not several:
        raise InvalidValueError("which matches no row")
    return _each(several, _column_value)


def _column_value(part: object) -> str | int | float | None:
    if isinstance(part, float) and math.isfinite(part):
        return part
    if part is None or part in ("null", "none"):
        return None
    return int(part) if isinstance(part, bool) else _status(part)


COLUMN_VALUES = Parser(
    "a text, a number, null, or a list of those", _column_values, _status_from_text
)
"""One value or a list of them, as status words are read; null and none are NULL."""
_MOST_ITEMS = 2**53
"""Up to here a float counts whole numbers."""


def _delete_limit(raw: object) -> DeleteLimit:
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        if raw > _MOST_ITEMS:
            raise InvalidValueError(f"at most {_MOST_ITEMS}")
        return DeleteLimit(float(raw))
    if isinstance(raw, str) and raw.strip().endswith("%"):
        amount = float(raw.strip()[:-1])
        if 0 <= amount <= 100:
            return DeleteLimit(amount, percent=True)
    raise ValueError


DELETE_LIMIT = Parser(
    'a whole number, 0 or more, or a percentage such as "10%"',
    _delete_limit,
    lambda text: text if text.endswith("%") else int(text),
)


def _time_zone(raw: object) -> str:
    name = text_of(raw)
    if name in {AUTO, "local", "UTC"} or fixed_offset(name) is not None:
        return name  # which needs no time zone database
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, OSError) as error:  # not found, or a folder of the time zone database
        raise ValueError from error
    return name


TIME_ZONE = Parser(
    "auto, local, an offset such as +01:00, or the name of a time zone known on this machine, "
    "such as Europe/Berlin",
    _time_zone,
)


def _url(raw: object) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"https?://[^\s/]\S*", raw):
        raise ValueError
    return raw


URL = Parser("an http or https URL", _url)
