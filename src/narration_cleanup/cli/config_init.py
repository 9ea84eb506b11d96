"""`config init --for` and `--from`: a configuration for a known program, or for a real place."""

from __future__ import annotations

import re
import time
from difflib import get_close_matches
from pathlib import Path

from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.text import printable, printable_line
from narration_cleanup.settings.known_programs import PROGRAMS
from narration_cleanup.settings.show import settings_text, without_password

_MASKED = re.compile(r":\*\*\*(?=@)|(?<=[?&])password=\*\*\*&?")


def for_program(name: str, directory: str | None, database: str | None) -> tuple[str, list[str]]:
    """The configuration of a known program, and remarks; the places instead of the usual ones.

    Raises ``ConfigError`` for a program that is not known.
    """
    if name not in PROGRAMS:
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
