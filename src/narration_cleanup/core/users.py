"""The users of this machine: their names, and their accounts."""

from __future__ import annotations

import os
from typing import NamedTuple

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.text import printable


class Account(NamedTuple):
    """A user to become. One who has no entry among the users has neither name nor home."""

    uid: int
    gid: int
    name: str | None = None
    home: str = "/"


def account_of(user: str) -> Account:
    """The account of a user's name or number; a number without an account has a group like it.

    Raises ``ConfigError`` where there is no such user.
    """
    import pwd

    number = int(user) if user.isascii() and user.isdecimal() else None
    try:
        found = pwd.getpwnam(user) if number is None else pwd.getpwuid(number)
    except (KeyError, OverflowError):
        if number is None or number >= 2**32 - 1:
            raise ConfigError(
                f"cleanup.user (--run-as) is {printable(user)}: there is no such user here"
            ) from None
        return Account(number, number)
    return Account(found.pw_uid, found.pw_gid, found.pw_name, found.pw_dir)


def user_name(uid: int, nameless: str = "user {}") -> str:
    """A user's name, or its number, put into ``nameless``, where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return nameless.format(uid)


def current_user() -> str:
    """The user that this process acts as."""
    return user_name(os.geteuid())
