"""The text of the units, from the facts about one installation. Pure: facts in, text out.

Each hardening setting is there because the tool does its whole job without what it takes away;
tests/systemd/ runs that job on a real systemd, and holds the score of the units.
"""

from __future__ import annotations

from narration_cleanup.settings.sources import APP, FILE_VARIABLE
from narration_cleanup.systemd.installation import (
    Installation,
    notify_names,
    service_name,
    timer_name,
)
from narration_cleanup.systemd.interval import delay_of, timing_of
from narration_cleanup.systemd.quote import assignment, bound, word
from narration_cleanup.systemd.sandbox_mounts import (
    bound_back,
    hidden_homes,
    hidden_paths,
    places,
    top_level,
)


def render(installation: Installation) -> dict[str, str]:
    """All units of an installation, by file name, in the order they are best read in."""
    units = {
        service_name(installation): service(installation),
        timer_name(installation): timer(installation),
    }
    if installation.user is not None:
        names = notify_names(installation)
        units[names["failure"]] = notify(installation)
        if installation.notify_success:
            units[names["success"]] = notify(installation)
        if installation.notify_start:
            units[names["start"]] = notify(installation, start=True)
    return units


def service(installation: Installation) -> str:
    """The unit that runs the clean-up, in a sandbox that leaves it its job and nothing else."""
    of = " (%i)" if installation.instance is not None else ""
    unit = [f"Description=Clean the narration cache and cancel abandoned requests{of}"]
    if installation.data:
        unit.append(f"RequiresMountsFor={' '.join(map(word, top_level(installation.data)))}")
    if installation.network:
        unit += ["Wants=network-online.target", "After=network-online.target"]
    if installation.user is not None:
        unit += [
            "# The sandbox has no network: these units send the notifications.",
            f"OnFailure={APP}-notify@%N.service",
        ]
        if installation.notify_success:
            unit.append(f"OnSuccess={APP}-notify-success@%N.service")
        if installation.notify_start:
            unit.append(f"Wants={APP}-notify-start@%N.service")
    run = [
        "Type=oneshot",
        f"ExecStart={_command(installation, 'run')}",
        *_identity(installation),
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
        # In the user's own manager there is no notify unit, and a network: the run itself notifies.
        *(["Environment=NARRATION_NOTIFIED_BY=unit"] if installation.user is not None else []),
        *_environment(installation),
        *(f"LoadCredential={name}:{word(file)}" for name, file in installation.credentials),
        "",
        "# The narration service comes first.",
        "Nice=10",
        "IOSchedulingClass=best-effort",
        "IOSchedulingPriority=7",
        "OOMScoreAdjust=500",
        "# A million entries, 100,000 of them removed: 89 MB (a removal takes 300 bytes).",
        "MemoryMax=1G",
        "",
        *places(installation),
        "",
    ]
    hardening = (
        USER_MANAGER if installation.user is None else RUN_NETWORK if installation.network else RUN
    )
    return _file(installation, ("Unit", unit), ("Service", [*run, *hardening]))


def _identity(installation: Installation) -> list[str]:
    lines = []
    if installation.user is not None:
        lines = [
            "# The owner of the database: of any other user, SQLite would leave files behind that",
            "# the service cannot write.",
            f"User={word(installation.user)}",
        ]
        if installation.group is not None:
            lines += [
                "# The index's: it is replaced by a file of the same group.",
                f"Group={word(installation.group)}",
            ]
    if installation.state is not None:
        lines += [f"StateDirectory={word(installation.state)}", "StateDirectoryMode=0750"]
    return lines


def _command(installation: Installation, *arguments: str) -> str:
    return " ".join(word(each, command=True) for each in (*installation.program, *arguments))


def _environment(installation: Installation) -> list[str]:
    lines = [f"Environment={assignment(name, value)}" for name, value in installation.environment]
    if installation.config is not None:
        lines.append(f"Environment={assignment(FILE_VARIABLE, str(installation.config))}")
    return lines


def timer(installation: Installation) -> str:
    """The unit that starts the clean-up, from the interval."""
    of = " (%i)" if installation.instance is not None else ""
    timing = timing_of(installation.interval_hours)
    lines = [f"# {timing.words[0].upper()}{timing.words[1:]}.", *timing.lines]
    if timing.on_calendar:
        lines.insert(1, "# A run that was missed while the machine was off is made up for at boot.")
    delay = delay_of(installation.interval_hours)
    lines += [
        "# Hosts that share a storage do not start together, and each keeps its own time.",
        f"RandomizedDelaySec={delay}s" if delay % 60 else f"RandomizedDelaySec={delay // 60}min",
        "FixedRandomDelay=true",
        f"AccuracySec={'1min' if installation.interval_hours >= 1 else '1s'}",
    ]
    return _file(
        installation,
        ("Unit", [f"Description=Clean the narration cache {timing.words.split(',')[0]}{of}"]),
        ("Timer", lines),
        ("Install", ["WantedBy=timers.target"]),
    )


def notify(installation: Installation, *, start: bool = False) -> str:
    """The unit that notifies of a run's end or start: it has a network, and cannot see the data."""
    command = _command(installation, "notify", *(["--start"] if start else []), "--unit")
    readers, history = f" {word(installation.readers)}" if installation.readers else "", list[str]()
    if installation.history is not None and not start:
        history = [f"BindReadOnlyPaths={bound(installation.history, '-')}"]
        state_dir = assignment("NARRATION_CLEANUP_STATE_DIR", str(installation.history))
        history.append(f"Environment={state_dir}")
    lines = [
        "Type=oneshot",
        f"ExecStart={command} %i.service",
        "DynamicUser=yes",
        "# To read the settings, what the run wrote, and the history of runs.",
        f"SupplementaryGroups=systemd-journal{readers}",
        "TimeoutStartSec=5min",
        "# The history that it reads is the service's user's.",
        "MemoryMax=1G",
        "Environment=TYPER_USE_RICH=0",
        *_environment(installation),
        *(f"LoadCredential={name}:{word(file)}" for name, file in installation.notify_credentials),
        "",
        "# Of /var, only what is bound back.",
        "TemporaryFileSystem=/var:ro",
        "BindReadOnlyPaths=-/var/log/journal",
        *history,
        *(f"InaccessiblePaths={word(f'-{path}')}" for path in hidden_paths(installation)),
        *(f"BindReadOnlyPaths={bound(path)}" for path in bound_back(installation)),
        *hidden_homes(bound_back(installation)),
        "",
        *NOTIFY,
    ]
    what = "Report that %i.service begins" if start else "Report how %i.service ended"
    return _file(installation, ("Unit", [f"Description={what}"]), ("Service", lines))


def _file(installation: Installation, *sections: tuple[str, list[str]]) -> str:
    parts = [f"[{name}]\n" + "\n".join(lines).strip("\n") + "\n" for name, lines in sections]
    header = "".join(f"# {line}\n" for line in installation.header.splitlines())
    return f"{header}\n" * bool(header) + "\n".join(parts)


_COMMON: tuple[str, ...] = (
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "PrivateTmp=yes",
    "PrivateMounts=yes",
    "PrivateDevices=yes",
    "DevicePolicy=closed",
    "PrivateUsers=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RemoveIPC=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "KeyringMode=private",
    "NotifyAccess=none",
)
_READABLE = ("# The notify unit reads the history by the group.", "UMask=0027")
_SYSCALLS: tuple[str, ...] = (
    "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources @setuid @chown @keyring @memlock @mount @debug",
    "# Refused calls are errors that can be handled and reported, not a sudden death.",
    "SystemCallErrorNumber=EPERM",
)
RUN: tuple[str, ...] = (
    *_COMMON,
    *_READABLE,
    "ProcSubset=pid",
    "PrivateNetwork=yes",
    "RestrictAddressFamilies=none",
    "IPAddressDeny=any",
    *_SYSCALLS,
)
"""The run unit: files in, files out."""

RUN_NETWORK: tuple[str, ...] = (
    *_COMMON,
    *_READABLE,
    "ProcSubset=pid",
    "# The database or the cache is elsewhere.",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    *_SYSCALLS,
)
"""The run unit where a bucket or a database server has to be reached."""

NOTIFY: tuple[str, ...] = (
    "ProtectSystem=strict",
    *_COMMON,
    "UMask=0077",
    "ProcSubset=pid",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    *_SYSCALLS,
)
"""The notify unit: the network, the journal, and nothing of the data."""

USER_MANAGER: tuple[str, ...] = (
    "NoNewPrivileges=yes",
    "PrivateUsers=yes",
    "PrivateTmp=yes",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "UMask=0077",
    *_SYSCALLS,
)
"""The run unit in a user's own manager, which can take away less."""
