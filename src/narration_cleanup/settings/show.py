"""The settings for a reader: as they are (`config show`), and as they may be (`config init`).

Both texts are TOML that this tool would load again; what is secret is hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby

from narration_cleanup.core.text import printable
from narration_cleanup.settings.parsers import DeleteLimit
from narration_cleanup.settings.setting import Setting
from narration_cleanup.settings.types import BY_NAME, SECTION_HELP, SETTINGS, Settings

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


_ORIGIN_COLUMN = 44

_INTRODUCTION = """\
# Settings of narration-cleanup.
#
# Each line that begins with "#" and no space holds a default: remove the "#" and change the value.
# Where something may be absent, "none" says so. A relative path starts at the current directory:
# write absolute ones where systemd or cron is to start the program.
# Every setting can be given as a variable too, which comes before this file: ttl_days of [cache]
# is NARRATION_CACHE_TTL_DAYS. Secrets are better kept in a credential of that name, or named like
# alerts.urls, in $CREDENTIALS_DIRECTORY.
#
# After a change: narration-cleanup -c THIS-FILE config validate
"""


def plain(value: object) -> object:
    """A setting's value in JSON's types; a whole number is given without a fraction."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, DeleteLimit):
        return str(value) if value.percent else int(value.amount)
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def toml(value: object) -> str:
    """A setting's value as TOML; what is absent is the text "none"."""
    value = plain(value)
    if isinstance(value, dict):
        pairs = ", ".join(f"{_quoted(name)} = {toml(part)}" for name, part in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(toml(part) for part in value)}]"
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    return _quoted("none" if value is None else str(value))


def _quoted(text: str) -> str:
    # A file name's undecodable bytes become "?"; JSON's escapes are TOML's as well.
    import json

    text = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(map(_escaped, json.dumps(text, ensure_ascii=False)))


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _by_section() -> Iterator[tuple[str, Iterator[Setting]]]:
    return groupby(SETTINGS, key=lambda setting: setting.section)


def show_lines(settings: Settings) -> Iterator[str]:
    """Every value with its origin, as TOML with comments; what is secret is hidden."""
    file = settings.config_file
    yield f"# Configuration file: {'none' if file is None else printable(file)}"
    for section, members in _by_section():
        yield ""
        yield f"[{section}]"
        for setting in members:
            value = safe(setting, settings.value(setting.name))
            line = f"{setting.key} = {toml(value)}"
            yield f"{line:<{_ORIGIN_COLUMN}} # {printable(settings.origin(setting.name))}"


def option_help(name: str) -> str:
    """The help of a setting's command-line option: with its default and its variable.

    The variable is last, where the longest has a line of its own in 80 columns.
    """
    setting = BY_NAME[name]
    default = "none" if setting.default is None else plain(setting.default)
    if isinstance(setting.default, bool):
        default = "on" if setting.default else "off"
    return f"{setting.help} Default: {default}. Variable: {setting.env}"


def init_text() -> str:
    """A configuration file of comments: every setting with its help and its default."""
    lines = [_INTRODUCTION]
    for section, members in _by_section():
        lines += [f"# {SECTION_HELP[section]}", f"[{section}]", ""]
        for setting in members:
            lines += [f"# {setting.help}", f"#{setting.key} = {toml(setting.default)}", ""]
    return "\n".join(lines)


def settings_text(values: Mapping[str, object]) -> str:
    """Tables of these settings alone, given by dotted name, in the order of all settings."""
    lines = []
    for section, members in _by_section():
        given = [setting for setting in members if setting.name in values]
        if given:
            lines += ["", f"[{section}]"]
            lines += [f"{setting.key} = {toml(values[setting.name])}" for setting in given]
    return "\n".join([*lines, ""])
