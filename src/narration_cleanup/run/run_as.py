"""Becoming the service's user, for a command that root started (``--run-as``, ``cleanup.user``)."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace

import narration_cleanup
from narration_cleanup.core.errors import ConfigError
from narration_cleanup.core.files import check_way
from narration_cleanup.core.text import printable
from narration_cleanup.core.users import Account, account_of, user_name
from narration_cleanup.run.access import refuse_two_owners
from narration_cleanup.settings import Settings
from narration_cleanup.settings.sources import FILE_VARIABLE, state_dir

_SET_DUMPABLE = 4
"""``PR_SET_DUMPABLE`` of ``prctl``: without it, ``/proc/self/fdinfo`` is root's from then on."""


def act_as(settings: Settings) -> Settings:
    """Become ``cleanup.user`` permanently, if this is root; the settings as that user has them.

    All that only root may be able to read is read before: the settings (by the caller) and every
    module. Raises ``ConfigError`` where it cannot be done.
    """
    if settings.cleanup.user is None:
        check_source(settings)
        return settings
    account = account_of(settings.cleanup.user)
    check_source(settings, account.uid)
    if os.geteuid() == account.uid:
        return settings
    if os.geteuid() != 0:
        if settings.origin("cleanup.user").source != "flag":
            return settings  # a command by hand; what this user may not do is refused
        raise ConfigError(
            f"--run-as {printable(settings.cleanup.user)}: only root can become another user, and "
            f"this is {user_name(os.geteuid())}"
        )
    refuse_two_owners(settings)
    import_all()
    if settings.alerts.urls:
        from narration_cleanup.report.notify import unknown_urls

        unknown_urls(settings.alerts.urls)  # Apprise imports its parts when it reads an address
    become(account)
    if settings.origin("cleanup.state_dir").source == "default":
        file = {FILE_VARIABLE: str(settings.config_file)} if settings.config_file else {}
        folder = state_dir({**os.environ, **file})[0]
        settings = replace(settings, cleanup=replace(settings.cleanup, state_dir=folder))
    return settings


def check_source(settings: Settings, *others: int) -> None:
    """Refuse, as root, a configuration that a user can write whom root does not become: it says
    what is removed, and as whom."""
    if os.geteuid() != 0 or settings.config_file is None:
        return
    try:
        check_way(settings.config_file, *others)
    except PermissionError as error:
        raise ConfigError(f"{error.strerror}; root reads its settings from no such file") from None
    except OSError:
        return  # a pipe, which has no place


def import_all() -> None:
    """Import every module that this package names anywhere, where it is installed.

    They may lie in a folder that only root can enter.
    """
    import pkgutil
    from importlib import import_module
    from importlib.util import find_spec

    names = set[str]()
    for found in pkgutil.walk_packages(narration_cleanup.__path__, "narration_cleanup."):
        spec = None if found.name.endswith("__main__") else find_spec(found.name)
        if spec is None or spec.origin is None:
            continue
        names.add(found.name)
        with open(spec.origin, encoding="utf-8") as source:
            names |= _imported(source.read())
    for name in sorted(names):
        with suppress(ImportError):
            import_module(name)


def _imported(source: str) -> set[str]:
    import ast

    names = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names.add(node.module)
    return names


def become(account: Account) -> None:
    """Become that user permanently, with his home and no group of root's.

    Raises ``ConfigError`` where this process may not.
    """
    try:
        if account.name is None:
            os.setgroups([account.gid])
        else:
            os.initgroups(account.name, account.gid)
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    except OSError as error:
        raise ConfigError(
            f"--run-as: this process may not become {user_name(account.uid)}: {error.strerror}"
        ) from None
    _stay_dumpable()
    os.umask(os.umask(0o022) | 0o022)
    for variable in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[variable]  # of root's places
    name = account.name or str(account.uid)
    os.environ.update(HOME=account.home, USER=name, LOGNAME=name)


def _stay_dumpable() -> None:
    """Let this process look at its own mounts, as one that was started by that user can."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_DUMPABLE, 1, 0, 0, 0)
