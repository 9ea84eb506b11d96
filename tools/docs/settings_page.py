"""Every setting, for docs/settings.md and narration-cleanup.toml(5)."""

from __future__ import annotations

from itertools import groupby

from narration_cleanup.settings import SETTINGS, Setting
from narration_cleanup.settings.show import toml
from narration_cleanup.settings.types import SECTION_HELP
from tools.docs.roff import bold, example, heading, italic, item, page, paragraphs, subheading

_EXAMPLE = """\
[cache]
dir = "/var/lib/narration/cache/narration"
ttl_days = 7

[requests]
db = "/var/lib/narration/requests.db"
abandoned_timeout_hours = 1"""

_INTRODUCTION = """\
A configuration file is TOML. Which one: the option -c/--config, else $NARRATION_CLEANUP_CONFIG,
else narration-cleanup/config.toml in the user's configuration folder (~/.config), else
/etc/narration-cleanup/config.toml. `narration-cleanup config init` writes one with every
setting in it, `config validate` checks it, `config show` says where each value came from.

Each setting can be given in several places; the first of these that has it wins: a command-line
option, its variable, a credential (a file in $CREDENTIALS_DIRECTORY named like the setting or
its variable), the configuration file, the default.

The names of the variables are the narration service's own where it has them, so that both can
share one environment file. In a variable, a list is written with commas (alerts.urls: with
spaces), a table as name=value,name=value, and what is true or false also as yes/no, on/off or
1/0.

Where something may be absent, "none" says so. A relative path starts at the current directory;
systemd and cron start programs elsewhere, so in a file that they use paths have to be absolute.

An unknown name in the file is an error; an unknown variable that begins as those of a section do
(NARRATION_CACHE_, NARRATION_REQUESTS_ and so on) is a warning, since the service has variables of
its own."""

_PAGE = """\
<!-- Made from the program by `python3 dev.py docs`; changes here are overwritten. -->

# Settings

{introduction}

```toml
{example}
```
"""


def settings_page() -> str:
    """docs/settings.md: a table for each section."""
    lines = [_PAGE.format(introduction=_INTRODUCTION, example=_EXAMPLE)]
    for section, members in groupby(SETTINGS, key=lambda setting: setting.section):
        lines += [f"## [{section}]", "", SECTION_HELP[section], ""]
        lines += ["| setting | default | what it does | variable, option |", "|---|---|---|---|"]
        lines += [_row(setting) for setting in members]
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _row(setting: Setting) -> str:
    flag = "" if setting.flag is None else f", `{setting.flag}`"
    cells = (
        f"`{setting.key}`",
        f"`{toml(setting.default)}`",
        f"{setting.help} Takes {_expected(setting)}.",
        f"`{setting.env}`{flag}",
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _expected(setting: Setting) -> str:
    """What a value may be, in words."""
    words = setting.kind.expected
    return f'{words}, or "none"' if setting.optional else words


def settings_manual() -> str:
    """The text of narration-cleanup.toml(5), in roff."""
    lines = [
        *heading("Name"),
        "narration\\-cleanup.toml \\- settings of narration\\-cleanup",
        *heading("Synopsis"),
        *(line for file in _FILES for line in (italic(file), ".br")),
        *heading("Description"),
        *paragraphs(_INTRODUCTION.replace("`", "")),
        *heading("Settings"),
    ]
    for section, members in groupby(SETTINGS, key=lambda setting: setting.section):
        lines += [*subheading(f"[{section}]"), *paragraphs(SECTION_HELP[section])]
        for setting in members:
            lines += _entry(setting)
    lines += [
        *heading("Example"),
        *example(_EXAMPLE.splitlines()),
        *heading("See also"),
        f"{bold('narration-cleanup')}(1)",
    ]
    return page("narration-cleanup.toml", 5, "File Formats", lines)


_FILES = (
    "~/.config/narration-cleanup/config.toml",
    "/etc/narration-cleanup/config.toml",
    "/etc/narration-cleanup/NAME.toml",
)


def _entry(setting: Setting) -> list[str]:
    ways = [setting.env, *([setting.flag] if setting.flag else [])]
    text = (
        f"{setting.help} Takes {_expected(setting)}. Default: {toml(setting.default)}. "
        f"Also: {', '.join(ways)}."
    )
    return item(bold(setting.key), text)
