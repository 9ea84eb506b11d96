"""What the units see of the file system, and what of that they may write. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from narration_cleanup.settings.sources import STATE_ROOT
from narration_cleanup.systemd.installation import Installation
from narration_cleanup.systemd.quote import bound, word

_TMPFS = (Path("/var"), Path("/tmp"), Path("/home"), Path("/root"), Path("/run/user"))


def places(installation: Installation) -> list[str]:
    """What the run sees and may write of the file system."""
    if installation.user is None:
        return _user_places(installation)
    not_executable = list(map(word, top_level(installation.data)))
    if installation.state is not None:
        not_executable.append(f"-{STATE_ROOT}/{installation.state}")
    not_executable += ["-/tmp", "-/var/tmp", "-/dev/shm", "-/run"]
    lines = [
        "# Everything is read-only; of /var, only what is bound back is there at all.",
        "ProtectSystem=strict",
        "# Said once more: with ProtectProc=, systemd 252 leaves this one out.",
        "ReadOnlyPaths=/run",
        "TemporaryFileSystem=/var:ro",
    ]
    lines += [f"BindPaths={bound(path)}" for path in top_level(installation.data)]
    lines += [
        f"BindReadOnlyPaths={bound(path)}" for path in bound_back(installation, installation.data)
    ]
    lines += hidden_homes((*installation.data, *bound_back(installation, installation.data)))
    lines += [
        "# What can be written to holds no program. (ExecPaths= is no help here: in systemd 252 it",
        "# makes its paths writable again.)",
        f"NoExecPaths={' '.join(not_executable)}",
    ]
    return lines


def _user_places(installation: Installation) -> list[str]:
    writable = " ".join(word(path) for path in top_level(installation.data))
    return [
        "# Everything is read-only but what is named; the user's own manager does this in a user",
        "# namespace (PrivateUsers=).",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        f"ReadWritePaths={writable}",
        "# No file of the cache is ever a program.",
        f"NoExecPaths={writable} -/tmp -/var/tmp",
    ]


def hidden_homes(seen: Iterable[Path]) -> list[str]:
    """`ProtectHome=`, which leaves what is bound to be seen there."""
    homes = (Path("/home"), Path("/root"), Path("/run/user"))
    if any(path.is_relative_to(home) for path in seen for home in homes):
        return [
            "# A part of it is in somebody's home; the rest of that stays hidden.",
            "ProtectHome=tmpfs",
        ]
    return ["ProtectHome=yes"]


def bound_back(installation: Installation, bound_already: Iterable[Path] = ()) -> list[Path]:
    """What the program needs of the places that the sandbox hides."""
    inside = list(bound_already)
    needed = installation.needed
    hidden = [path for path in needed if any(path.is_relative_to(root) for root in _TMPFS)]
    return top_level(p for p in hidden if not any(p.is_relative_to(each) for each in inside))


def top_level(paths: Iterable[Path]) -> list[Path]:
    """Each path once, and none that lies inside another of them; in the order given."""
    given = list(dict.fromkeys(paths))
    return [
        path
        for path in given
        if not any(path != other and path.is_relative_to(other) for other in given)
    ]


def hidden_paths(installation: Installation) -> list[Path]:
    """The data that the notify unit is not to see, beyond what it does not see in any case. A
    folder that holds the program, too, cannot be hidden from it."""
    return [
        path
        for path in top_level(installation.data)
        if not any(path.is_relative_to(root) for root in _TMPFS)
        and path != installation.history
        and not any(each.is_relative_to(path) for each in installation.needed)
    ]
