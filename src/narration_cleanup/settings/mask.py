"""Values as they may be shown: escaped, not too long, and without what is secret."""

from __future__ import annotations

import re

from narration_cleanup.escape import shown
from narration_cleanup.settings.setting import Setting

HIDDEN = "***"
_LONGEST = 80

# Patterns are compiled where they are first used: start-up is paid by every command.
_SECRET_PART = (
    r"((?:^|[?&;\s])[^=&;?\s]*(?i:pass|pwd|secret|token|key|credential)[^=&;?\s]*\s*=)[^&;#\s]*"
)
_SCHEME = r"\s*[A-Za-z][A-Za-z0-9+.-]*:/*"


def without_password(text: str) -> str:
    """A location without its password: `postgresql://user:***@host/name?password=***`.

    Everything between the first colon after the scheme and the last `@` is hidden: a password
    with an unquoted `/`, `?` or `@` is a mistake, but must not be shown for it.
    """
    scheme = re.match(_SCHEME, text)
    if scheme:
        user, at, rest = text[scheme.end() :].rpartition("@")
        if at:
            name, colon, _ = user.partition(":")
            hidden = f"{name}:{HIDDEN}" if colon else _hide_parts(name)
            return f"{scheme[0]}{hidden}@{_hide_parts(rest)}"
    return _hide_parts(text)


def _hide_parts(text: str) -> str:
    return re.sub(_SECRET_PART, rf"\1{HIDDEN}", text)


def raw_shown(setting: Setting, raw: object) -> str:
    """A refused value, for a message about it."""
    if setting.secret:
        return HIDDEN
    text = f'"{without_password(raw)}"' if isinstance(raw, str) else without_password(str(raw))
    text = shown(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def safe(setting: Setting, value: object) -> object:
    """A setting's value with what is secret hidden, its type otherwise kept."""
    if setting.secret and value is not None:
        return tuple(HIDDEN for _ in value) if isinstance(value, tuple) else HIDDEN
    return without_password(value) if isinstance(value, str) else value
