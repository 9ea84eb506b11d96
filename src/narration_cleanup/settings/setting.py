"""How a field of the settings classes is declared, and what is known of each setting."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from narration_cleanup.settings.parsers import Parser

T = TypeVar("T")

PREFIX = "NARRATION_"
METADATA = "setting"


Compute: TypeAlias = Callable[[Mapping[str, str]], tuple[T, str]]


@dataclass(slots=True, eq=False, repr=False)
class Setting:
    """One setting. `name` is dotted, and empty until the table of all settings is made.

    `compute` finds the default in the environment, and returns where it came from; such a setting
    has no fixed `default`, and `"auto"` asks for it. `optional` settings may be `"none"`.
    """

    name: str
    kind: Parser[object]
    default: object
    help: str
    flag: str | None = None
    secret: bool = False
    optional: bool = False
    compute: Compute[object] | None = None

    @property
    def env(self) -> str:
        """The setting's variable: `NARRATION_CACHE_TTL_DAYS` for `cache.ttl_days`."""
        return PREFIX + self.name.replace(".", "_").upper()

    @property
    def section(self) -> str:
        """All of the name but its last part: `requests.columns` of `requests.columns.id`."""
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]


def setting(
    kind: Parser[T], default: T, *, help: str, flag: str | None = None, secret: bool = False
) -> T:
    """Declare a setting that always has a value of its kind."""
    entry = Setting("", kind, default, help, flag, secret)
    # A factory, because dataclasses refuse defaults that cannot be hashed, read-only or not.
    return field(default_factory=lambda: default, metadata={METADATA: entry})


def none_or(
    kind: Parser[T],
    default: T | None = None,
    *,
    help: str,
    flag: str | None = None,
    secret: bool = False,
) -> T | None:
    """Declare a setting that may be absent: `"none"` says so."""
    entry = Setting("", kind, default, help, flag, secret, optional=True)
    return field(default_factory=lambda: default, metadata={METADATA: entry})


def computed(kind: Parser[T], compute: Compute[T], *, help: str) -> T:
    """Declare a setting whose default depends on the environment: `"auto"` asks for it."""
    entry = Setting("", kind, "auto", help, compute=compute)
    return field(default_factory=lambda: compute(os.environ)[0], metadata={METADATA: entry})
