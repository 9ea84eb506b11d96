"""`config show`, `config validate` and `config init`."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from narration_cleanup.cli.lazy import LazyCommand, LazyGroup
from narration_cleanup.cli.options import this_program
from narration_cleanup.core.errors import CleanupError, ConfigError, settings_warning
from narration_cleanup.core.files import check_way, make_folder, replace_file
from narration_cleanup.core.model import Problem
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.core.users import nearest_folder
from narration_cleanup.report.documents import (
    SCHEMA_VERSION,
    configuration_problems,
    problem_items,
    write,
)
from narration_cleanup.report.documents.setup_types import Config, Setting
from narration_cleanup.report.streams import is_terminal, until_closed
from narration_cleanup.settings import SETTINGS, Settings, load_settings, require_target
from narration_cleanup.settings.known_programs import PROGRAMS
from narration_cleanup.settings.show import (
    init_text,
    plain,
    safe,
    settings_text,
    show_lines,
    without_password,
)
from narration_cleanup.settings.sources import make_readable

_MASKED = re.compile(r":\*\*\*(?=@)|(?<=[?&])password=\*\*\*&?")

config_app = typer.Typer(
    name="config",
    help="Show, check or write the configuration.",
    no_args_is_help=True,
    cls=LazyGroup,
)


@config_app.command("show", cls=LazyCommand)
def show_command(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="One JSON document.")] = False,
) -> None:
    """Show every setting with where it came from. Secrets are hidden."""
    try:
        settings = _settings(context)
    except ConfigError as error:
        if as_json:
            write(config_document(None, configuration_problems(error)), sys.stdout, indent=2)
        raise
    if as_json:
        write(config_document(settings), sys.stdout, indent=2)
        return
    _warn(settings)
    with until_closed(sys.stdout):
        sys.stdout.writelines(f"{line}\n" for line in show_lines(settings))


@config_app.command("validate", cls=LazyCommand)
def validate_command(context: typer.Context) -> None:
    """Check the configuration: one line for each fault, and exit code 78 if there is one."""
    settings = _settings(context)
    _warn(settings)
    require_target(settings)
    file = settings.config_file
    targets = (("cache", settings.cache.dir), ("requests", settings.requests.db))
    parts = [f"file {'none' if file is None else printable(file)}"]
    for name, place in targets:
        where = "not configured" if place is None else printable(without_password(place))
        parts.append(f"{name} {where}")
    typer.echo(f"The configuration is valid: {', '.join(parts)}")


@config_app.command("init", cls=LazyCommand)
def init_command(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The file to write; standard output if left out."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", metavar="", help="Overwrite a file.")] = False,
    program: Annotated[
        str | None,
        typer.Option("--for", metavar="NAME", help=f"For a known program: {', '.join(PROGRAMS)}."),
    ] = None,
    directory: Annotated[
        str | None,
        typer.Option("--from", metavar="DIR", help="Propose one for the cache in this folder."),
    ] = None,
    requests_db: Annotated[
        str | None,
        typer.Option(
            "--requests-db", metavar="DB", help="... and for the requests in this database."
        ),
    ] = None,
) -> None:
    """Write a configuration file: every setting with its default, or what a program or a place has.

    With --for, --from and --requests-db are that program's places. Without, both are only read.
    """
    text, remarks = init_text(), list[str]()
    if program is not None:
        text, remarks = for_program(program, directory, requests_db)
    elif directory is not None or requests_db is not None:
        text, remarks = for_places(directory, requests_db)
    written = path is not None
    if path is None:
        typer.echo(text, nl=False)
    else:
        try:
            _write(path, text, overwrite=force)
        except OSError as error:
            why = f"cannot write {printable(path)}: {error.strerror}"
            if isinstance(error, FileExistsError) and os.path.lexists(path):
                why = f"{printable(path)} exists already: add --force to overwrite it"
            raise CleanupError(why) from error
    read = text if not written and is_terminal(sys.stdout) else ""
    for remark in map(printable_line, remarks):
        if f"# {remark}\n" not in read:
            typer.echo(remark, err=not written)
    hints = [f"Only root may read it: {make_readable()}"]
    hints = hints if written and os.geteuid() == 0 else []
    command = f"{this_program()} -c {shlex.quote(str(path or 'FILE'))}"
    if program is not None or remarks:
        hints.append(f"Try it: {printable(command)} dry-run")
    elif written:
        wrote = f"Wrote {printable(path)}: edit it, then run: {printable(command)} config validate"
        hints.insert(0, wrote)
    for hint in hints:
        typer.echo(hint, err=not written)


def for_program(name: str, directory: str | None, database: str | None) -> tuple[str, list[str]]:
    """The configuration of a known program, and remarks; the places instead of the usual ones.

    Raises ``ConfigError`` for a program that is not known.
    """
    if name not in PROGRAMS:
        from difflib import get_close_matches

        near = get_close_matches(name, PROGRAMS, n=1)
        guess = f", did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no program {printable(name)} is known{guess}: {', '.join(PROGRAMS)}")
    program = PROGRAMS[name]
    settings = dict(program.settings)
    for setting, given in (("cache.dir", directory), ("requests.db", database)):
        if given is not None:
            if setting not in settings:
                raise ConfigError(f"{name} has no {setting} that could be {printable(given)}")
            settings[setting] = given if "://" in given else str(Path(given).absolute())
    about = f"{program.title}: {program.why}"
    places = [] if program.first is None else [program.first]
    places += [
        f"Set {setting}: the place differs from installation to installation"
        for setting in ("cache.dir", "requests.db")
        if str(settings.get(setting)).startswith(("/path/to/", "postgresql://user@"))
    ]
    if "requests.filter" in settings:
        places.append("Set requests.filter to the name of the queue: others may share the table")
    return f"# {about}\n{settings_text(settings)}", [about, *places]


def for_places(directory: str | None, database: str | None) -> tuple[str, list[str]]:
    """The configuration that is proposed for a folder and a database, with what is sure and not.

    Raises ``ConfigError`` where a place is no cache or no request table.
    """
    from narration_cleanup.check.proposal import propose

    proposal = propose(directory, database, time.time())
    if database is not None and (masked := without_password(database)) != database:
        proposal.settings["requests.db"] = _MASKED.sub("", masked)
        proposal.unsure.append(
            "where the password is kept: it is not written here; PGPASSFILE, ~/.pgpass or a "
            "credential may hold it (docs/remote.md)"
        )
    remarks = [f"sure      {line}" for line in proposal.sure]
    remarks += [f"not sure  {line}" for line in proposal.unsure]
    comments = "".join(f"# {printable_line(remark)}\n" for remark in remarks)
    return f"{comments}{settings_text(proposal.settings)}", remarks


def config_document(settings: Settings | None, problems: Sequence[Problem] = ()) -> Config:
    """The document of `config show --json`; without `settings`, `problems` say why."""
    file = None if settings is None else settings.config_file
    return Config(
        schema_version=SCHEMA_VERSION,
        config_file=None if file is None else str(file),
        settings={}
        if settings is None
        else {
            setting.name: Setting(
                value=plain(safe(setting, settings.value(setting.name))),
                origin=str(settings.origin(setting.name)),
                variable=setting.env,
            )
            for setting in SETTINGS
        },
        warnings=[] if settings is None else list(settings.warnings),
        problems=problem_items(problems),
    )


def _settings(context: typer.Context) -> Settings:
    named = context.obj if isinstance(context.obj, Path) else None
    return load_settings(flags={}, config_file=named, environ=os.environ)


def _warn(settings: Settings) -> None:
    for warning in settings.warnings:
        typer.echo(settings_warning(warning), err=True)


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a whole file or none; what is there is kept, mode included, unless `overwrite`."""
    if os.geteuid() == 0 or path.is_symlink():
        check_way(path if overwrite and path.exists() else nearest_folder(path.parent))
    target = path.resolve() if overwrite else path  # through a link, which is kept
    make_folder(target.parent)
    if not overwrite or not target.exists():
        # For its owner alone: secrets are written into it.
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
            except BaseException:
                target.unlink()
                raise
        return
    replace_file(target, text, target.stat().st_mode & 0o7777)
