"""narration-cleanup(1), from the program's own commands and options."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from typer.core import TyperGroup
from typer.main import get_command

from narration_cleanup.cli.app import app
from narration_cleanup.core.exit_codes import ExitCode
from tools.docs.exit_codes import MEANINGS
from tools.docs.roff import (
    bold,
    escaped,
    example,
    heading,
    italic,
    item,
    page,
    paragraphs,
    subheading,
)

NAME = "narration-cleanup"

_DESCRIPTION = """\
narration-cleanup keeps a text-to-speech narration system healthy. It removes expired audio from
the narration cache, cancels generation requests that were abandoned, and reports what it did. It
runs unattended, next to a live service that reads and writes the same files.

A run surveys the cache and the requests, plans what to remove and why, checks each item again
immediately before it is removed or cancelled, and reports. dry-run shows the same plan and changes
nothing. Try demo first: it makes a small sandbox, and changes nothing else."""

_VARIABLES = (
    (
        "NARRATION_CLEANUP_CONFIG",
        "The configuration file, where no option names one.",
    ),
    (
        "NARRATION_CACHE_DIR, NARRATION_REQUESTS_DB and the like",
        "Every setting has a variable, which comes before the configuration file: see "
        "narration-cleanup.toml(5).",
    ),
    (
        "CREDENTIALS_DIRECTORY",
        "A folder with a file for each secret setting, named like the setting or its variable; "
        "systemd sets it for LoadCredential=.",
    ),
    ("STATE_DIRECTORY", "Where the history is kept, unless the setting cleanup.state_dir says."),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "The user's own folders; else ~/.config, ~/.local/state."),
    ("NO_COLOR", "Output on a terminal has no colours."),
)

_FILES = (
    ("~/.config/narration-cleanup/config.toml", "The user's configuration."),
    ("/etc/narration-cleanup/config.toml", "The machine's, where the user has none."),
    ("/etc/narration-cleanup/NAME.toml", "The instance NAME, of several caches on one machine."),
    (
        "/etc/narration-cleanup/credentials/",
        "Root's own files, one for each secret setting; the units load them.",
    ),
    (
        "~/.local/state/narration-cleanup/history.db",
        "What the runs did; the system's units keep theirs in /var/lib/narration-cleanup.",
    ),
)

_TROUBLESHOOTING = (
    "docs/troubleshooting.md of the package's documents (share/doc/narration-cleanup) lists every "
    "message by its code."
)
_EXAMPLES = (
    ("See what it does, on a sandbox of its own:", f"{NAME} demo"),
    ("What would go, and why?", f"{NAME} dry-run --cache-dir /var/lib/narration/cache/narration"),
    ("Begin a configuration, and check it:", f"{NAME} config init narration.toml"),
    ("", f"{NAME} -c narration.toml config validate"),
    ("Run every few hours from now on:", f"sudo {NAME} systemd install"),
)


def command_page() -> str:
    """The text of the manual page, in roff."""
    root = get_command(app)
    context = typer.Context(root, info_name=NAME)
    lines = [
        *heading("Name"),
        f"{escaped(NAME)} \\- keep the cache and the requests of a narration service clean",
        *heading("Synopsis"),
        f"{bold(NAME)} [{bold('-c')} {italic('FILE')}] {italic('COMMAND')} [{italic('ARGS')}]",
        *heading("Description"),
        *paragraphs(_DESCRIPTION),
        *heading("Options"),
        *_parameters(context),
        *heading("Commands"),
        *(line for sub in _commands(context) for line in _command(sub)),
        *heading("Exit status"),
        *(line for code in ExitCode for line in item(bold(f"{code:d}"), _meaning(code))),
        *heading("Environment"),
        *(line for name, text in _VARIABLES for line in item(bold(name), text)),
        *heading("Files"),
        *(line for name, text in _FILES for line in item(italic(name), text)),
        *heading("Examples"),
    ]
    for words, command in _EXAMPLES:
        lines += [*(paragraphs(words) if words else []), *example([command])]
    lines += [
        *heading("See also"),
        *paragraphs(_TROUBLESHOOTING),
        ".PP",
        f"{bold('narration-cleanup.toml')}(5), {bold('systemd.timer')}(5), {bold('crontab')}(5)",
    ]
    return page(NAME, 1, "User Commands", lines)


def _commands(context: typer.Context) -> Iterator[typer.Context]:
    """A context of every command below this one, depth first, groups before their members."""
    group = context.command
    if not isinstance(group, TyperGroup):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        below = typer.Context(command, info_name=name, parent=context)
        yield below
        yield from _commands(below)


def _command(context: typer.Context) -> list[str]:
    """What is said of one command."""
    command = context.command
    usage = " ".join(command.collect_usage_pieces(context)).replace("{", "").replace("}", "")
    title = context.command_path.removeprefix(f"{NAME} ")
    return [
        *subheading(f"{title} {usage}".replace("[[", "[").replace("]]", "]")),
        *paragraphs(command.help or ""),
        *_parameters(context),
    ]


def _parameters(context: typer.Context) -> list[str]:
    """A command's arguments and options, but the `--help` that all have."""
    lines = []
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and parameter.name != "help":
            tag, text = record
            if parameter.param_type_name == "argument":
                tag = tag.partition(" ")[0].strip("[]")
            lines += item(bold(tag), text)
    return lines


def _meaning(code: ExitCode) -> str:
    words, happened = MEANINGS[code]
    return f"{words[0].upper()}{words[1:]}. {happened}"
