"""The text of the units, from the facts about one installation. Pure: facts in, text out.

Each hardening setting is there because the tool does its whole job without what it takes away;
tests/systemd/ runs that job on a real systemd, and holds the score of the units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from narration_cleanup.systemd.hardening import NOTIFY, RUN, RUN_NETWORK, USER_MANAGER
from narration_cleanup.systemd.interval import delay_of, timing_of
from narration_cleanup.systemd.quote import assignment, bound, word

NAME = "narration-cleanup"
CONFIG_VARIABLE = "NARRATION_CLEANUP_CONFIG"
STATE_ROOT = Path("/var/lib")
CONFIG_DIR = Path("/etc/narration-cleanup")
_TMPFS = (Path("/var"), Path("/tmp"), Path("/home"), Path("/root"), Path("/run/user"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the units of one installation are made from. All paths are absolute.

    `program` and `notifier` are the words of a command line, up to the sub-command's own
    arguments. `data` is what a run may write: folders that exist. `code` is what the program is
    made of, `config` its file. `environment` holds settings that came from variables or flags.
    `user` is None in a user's own manager. `credentials` are (id, file) pairs. A failure is always
    told of; `tell_start` and `tell_success` say whether somebody waits for those too.
    """

    program: tuple[str, ...]
    user: str | None
    data: tuple[Path, ...] = ()
    code: tuple[Path, ...] = ()
    config: Path | None = None
    state: str | None = NAME
    environment: tuple[tuple[str, str], ...] = ()
    credentials: tuple[tuple[str, Path], ...] = ()
    notify_credentials: tuple[tuple[str, Path], ...] = ()
    interval_hours: float = 6.0
    network: bool = False
    tell_start: bool = False
    tell_success: bool = False
    instance: str | None = None
    header: str = ""

    @property
    def is_template(self) -> bool:
        """Whether the units stand for any instance, with `%i` for its name in their paths."""
        return self.instance == ""

    @property
    def stem(self) -> str:
        """The name of the units without their suffix: `narration-cleanup@voices`."""
        return NAME if self.instance is None else f"{NAME}@{self.instance}"


def service_name(facts: Facts) -> str:
    """The unit that runs the clean-up."""
    return f"{facts.stem}.service"


def timer_name(facts: Facts) -> str:
    """The unit that starts it."""
    return f"{facts.stem}.timer"


def notify_names(facts: Facts) -> dict[str, str]:
    """The units that tell of a failure, a success and a start.

    Failure and success have one each: systemd passes on how a run ended (`MONITOR_*`) only where
    a single dependency has started the unit.
    """
    return {
        "failure": f"{NAME}-notify@{facts.stem}.service",
        "success": f"{NAME}-notify-success@{facts.stem}.service",
        "start": f"{NAME}-notify-start@{facts.stem}.service",
    }


def render(facts: Facts) -> dict[str, str]:
    """All units of an installation, by file name, in the order they are best read in."""
    units = {service_name(facts): service(facts), timer_name(facts): timer(facts)}
    if facts.user is not None:
        names = notify_names(facts)
        units[names["failure"]] = notify(facts)
        if facts.tell_success:
            units[names["success"]] = notify(facts)
        if facts.tell_start:
            units[names["start"]] = notify(facts, start=True)
    return units


def packaged() -> dict[str, str]:
    """The units as they are shipped, for a package: they know no installation's own paths.

    The program is looked for where systemd looks for programs, by `env`. The data of the service
    are in /var/lib/narration, or in /var/lib/narration/NAME for the instance NAME.
    """
    one = Facts(
        program=("/usr/bin/env", NAME),
        user="narration",
        data=(STATE_ROOT / "narration",),
        config=CONFIG_DIR / "config.toml",
    )
    each = replace(
        one,
        instance="",
        data=(STATE_ROOT / "narration/%i",),
        config=CONFIG_DIR / "%i.toml",
        state=f"{NAME}/%i",
    )
    units = {name: text for facts in (one, each) for name, text in render(facts).items()}
    del units[notify_names(one)["failure"]], units[notify_names(each)["failure"]]
    # Which file an instance is configured by, the command itself knows from the unit's name.
    return {**units, f"{NAME}-notify@.service": notify(replace(one, config=None))}


def service(facts: Facts) -> str:
    """The unit that runs the clean-up, in a sandbox that leaves it its job and nothing else."""
    of = " (%i)" if facts.instance is not None else ""
    unit = [f"Description=Clean the narration cache and cancel abandoned requests{of}"]
    if facts.data:
        unit.append(
            f"RequiresMountsFor={' '.join(_path(facts, path) for path in _outermost(facts.data))}"
        )
    if facts.network:
        unit += ["Wants=network-online.target", "After=network-online.target"]
    if facts.user is not None:
        unit += [
            "# What the sandbox may not do itself, since it has no network: tell somebody.",
            f"OnFailure={NAME}-notify@%N.service",
        ]
        if facts.tell_success:
            unit.append(f"OnSuccess={NAME}-notify-success@%N.service")
        if facts.tell_start:
            unit.append(f"Wants={NAME}-notify-start@%N.service")
    run = [
        "Type=oneshot",
        f"ExecStart={_command(facts, 'run')}",
        *_identity(facts),
        "# 75: another run holds the lock. 143: stopped in good order, by SIGTERM.",
        "SuccessExitStatus=75 143",
        "# A stop finishes the item in hand and commits the index, which takes 10 s at most.",
        "TimeoutStopSec=30s",
        "# No run takes this long; one that hangs (a dead network mount) must not stop all others.",
        "TimeoutStartSec=2h",
        "# One-line errors, in the journal as everywhere that is not a terminal.",
        "Environment=TYPER_USE_RICH=0",
        "# The guard against a clock that jumped must know this boot from others; the kernel's own",
        "# file for that is out of sight (ProcSubset=pid).",
        "Environment=NARRATION_BOOT_ID=%b",
        *_told_by_unit(facts),
        *_environment(facts),
        *(f"LoadCredential={name}:{word(file)}" for name, file in facts.credentials),
        "",
        "# The narration service comes first.",
        "Nice=10",
        "IOSchedulingClass=best-effort",
        "IOSchedulingPriority=7",
        "OOMScoreAdjust=500",
        "",
        *_places(facts),
        "",
    ]
    hardening = USER_MANAGER if facts.user is None else RUN_NETWORK if facts.network else RUN
    return _file(facts, ("Unit", unit), ("Service", [*run, *hardening]))


def _told_by_unit(facts: Facts) -> list[str]:
    # In the user's own manager there is no notify unit, and a network: the run tells by itself.
    return [] if facts.user is None else ["Environment=NARRATION_NOTIFIED_BY=unit"]


def _identity(facts: Facts) -> list[str]:
    lines = []
    if facts.user is not None:
        lines = [
            "# The owner of the database: of any other user, SQLite would leave files behind that",
            "# the service cannot write.",
            f"User={facts.user}",
        ]
    if facts.state is not None:
        lines += [
            f"StateDirectory={facts.state if facts.is_template else word(facts.state)}",
            "StateDirectoryMode=0750",
        ]
    return lines


def _command(facts: Facts, *arguments: str) -> str:
    return " ".join(word(each, command=True) for each in (*facts.program, *arguments))


def _environment(facts: Facts) -> list[str]:
    lines = [f"Environment={assignment(name, value)}" for name, value in facts.environment]
    if facts.config is not None:
        given = f"{CONFIG_VARIABLE}={facts.config}"
        lines.append(f"Environment={given if facts.is_template else word(given)}")
    return lines


def _places(facts: Facts) -> list[str]:
    """What the run sees and may write of the file system."""
    if facts.user is None:
        return _user_places(facts)
    lines = [
        "# Everything is read-only; of /var, only what is bound back is there at all.",
        "ProtectSystem=strict",
        "# Said once more: with ProtectProc=, systemd 252 leaves this one out.",
        "ReadOnlyPaths=/run",
        "TemporaryFileSystem=/var:ro",
    ]
    lines += [f"BindPaths={_path(facts, path, bound)}" for path in _outermost(facts.data)]
    lines += [f"BindReadOnlyPaths={bound(path)}" for path in _bound_back(facts)]
    lines += _home(facts, (*facts.data, *_bound_back(facts)))
    lines += [
        "# What can be written to holds no program. (ExecPaths= is no help here: in systemd 252 it",
        "# makes its paths writable again.)",
        f"NoExecPaths={' '.join(_not_executable(facts))}",
    ]
    return lines


def _user_places(facts: Facts) -> list[str]:
    writable = " ".join(word(path) for path in _outermost(facts.data))
    return [
        "# Everything is read-only but what is named; the user's own manager does this in a user",
        "# namespace (PrivateUsers=).",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        f"ReadWritePaths={writable}",
        "# No file of the cache is ever a program.",
        f"NoExecPaths={writable} -/tmp -/var/tmp",
    ]


def _home(facts: Facts, seen: Iterable[Path]) -> list[str]:
    homes = (Path("/home"), Path("/root"), Path("/run/user"))
    if any(path.is_relative_to(home) for path in seen for home in homes):
        return [
            "# A part of it is in somebody's home; the rest of that stays hidden.",
            "ProtectHome=tmpfs",
        ]
    return ["ProtectHome=yes"]


def _path(facts: Facts, path: Path, write: Callable[[Path], str] = word) -> str:
    return str(path) if facts.is_template else write(path)


def _not_executable(facts: Facts) -> list[str]:
    places = [_path(facts, path) for path in _outermost(facts.data)]
    if facts.state is not None:
        places.append(f"-{STATE_ROOT}/{facts.state}")
    return [*places, *(f"-{place}" for place in ("/tmp", "/var/tmp", "/dev/shm", "/run"))]


def _bound_back(facts: Facts) -> list[Path]:
    """What the program needs of the places that the sandbox hides."""
    needed = [*facts.code, *([facts.config] if facts.config is not None else [])]
    hidden = [path for path in needed if any(path.is_relative_to(root) for root in _TMPFS)]
    inside = _outermost(facts.data)
    return _outermost(p for p in hidden if not any(p.is_relative_to(data) for data in inside))


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Each path once, and none that lies inside another of them; in the order given."""
    given = list(dict.fromkeys(paths))
    return [
        path
        for path in given
        if not any(path != other and path.is_relative_to(other) for other in given)
    ]


def timer(facts: Facts) -> str:
    """The unit that starts the clean-up, from the interval."""
    of = " (%i)" if facts.instance is not None else ""
    timing = timing_of(facts.interval_hours)
    lines = [f"# {timing.words[0].upper()}{timing.words[1:]}.", *timing.lines]
    if timing.on_calendar:
        lines.insert(1, "# A run that was missed while the machine was off is made up for at boot.")
    delay = delay_of(facts.interval_hours)
    lines += [
        "# Hosts that share a storage do not start together, and each keeps its own time.",
        f"RandomizedDelaySec={delay}s" if delay % 60 else f"RandomizedDelaySec={delay // 60}min",
        "FixedRandomDelay=true",
        f"AccuracySec={'1min' if facts.interval_hours >= 1 else '1s'}",
    ]
    return _file(
        facts,
        ("Unit", [f"Description=Clean the narration cache {timing.words.split(',')[0]}{of}"]),
        ("Timer", lines),
        ("Install", ["WantedBy=timers.target"]),
    )


def notify(facts: Facts, *, start: bool = False) -> str:
    """The unit that tells of a run's end, or start: it has a network, and no sight of the data."""
    command = _command(facts, "notify", *(["--start"] if start else []), "--unit")
    unseen = [path for path in facts.data if not path.is_relative_to("/var")]
    lines = [
        "Type=oneshot",
        f"ExecStart={command} %i.service",
        "DynamicUser=yes",
        "# To read what the run said, and nothing of the run's own.",
        "SupplementaryGroups=systemd-journal",
        "TimeoutStartSec=5min",
        "Environment=TYPER_USE_RICH=0",
        *_environment(facts),
        *(f"LoadCredential={name}:{word(file)}" for name, file in facts.notify_credentials),
        "",
        "# Of /var, only the journal.",
        "TemporaryFileSystem=/var:ro",
        "BindReadOnlyPaths=-/var/log/journal",
        *(f"InaccessiblePaths={word(f'-{path}')}" for path in _outermost(unseen)),
        *(f"BindReadOnlyPaths={bound(path)}" for path in _bound_back(facts)),
        *_home(facts, _bound_back(facts)),
        "",
        *NOTIFY,
    ]
    what = "Tell that %i.service begins" if start else "Tell how %i.service ended"
    return _file(facts, ("Unit", [f"Description={what}"]), ("Service", lines))


def _file(facts: Facts, *sections: tuple[str, list[str]]) -> str:
    parts = [f"[{name}]\n" + "\n".join(lines).strip("\n") + "\n" for name, lines in sections]
    header = "".join(f"# {line}\n" for line in facts.header.splitlines())
    return f"{header}\n" * bool(header) + "\n".join(parts)
