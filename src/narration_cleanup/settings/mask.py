"""Values as they may be shown: escaped, not too long, and without what is secret."""

from __future__ import annotations

import re
from collections.abc import Mapping

from narration_cleanup.core.text import printable
from narration_cleanup.settings.setting import Setting

HIDDEN = "***"
_LONGEST = 80

# Compiled where it is first used: start-up is paid by every command.
_SECRET_PART = (
    r"((?:^|[?&;\s])[^=&;?\s]*(?i:pass|pwd|secret|token|key|credential)[^=&;?\s]*\s*=\s*)"
    r"(?:'[^']*'?|[^&;#\s]*)"
)


def without_password(text: str) -> str:
    """A location without its password: `postgresql://user:***@host/name?password=***`.

    Everything between the first colon after the scheme and the last `@` is hidden: a password
    with an unquoted `/`, `?` or `@` is a mistake, but must not be shown for it. A path is shown
    as it is.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        if text.startswith(("/", "./", "../", "~")):
            return text
        scheme, rest = "", text
    user, at, place = rest.rpartition("@")
    if at:
        name, colon, _ = user.partition(":")
        user = f"{name}:{HIDDEN}" if colon else _hide_parts(name)
    return f"{_hide_parts(scheme)}{separator}{user}{at}{_hide_parts(place)}"


def _hide_parts(text: str) -> str:
    return re.sub(_SECRET_PART, rf"\1{HIDDEN}", text)


def raw_shown(setting: Setting, raw: object) -> str:
    """A refused value, for a message about it."""
    if setting.secret:
        return HIDDEN
    if isinstance(raw, (list, tuple)):
        return "a list"  # its parts may be what the setting would hide
    if isinstance(raw, Mapping):
        return "a table"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    text = f'"{without_password(raw)}"' if isinstance(raw, str) else str(raw)
    text = printable(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def safe(setting: Setting, value: object) -> object:
    """A setting's value with what is secret hidden, its type otherwise kept."""
    if setting.secret and value is not None:
        return tuple(HIDDEN for _ in value) if isinstance(value, tuple) else HIDDEN
    return without_password(value) if isinstance(value, str) else value
