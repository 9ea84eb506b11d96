"""Keep a narration system healthy: remove expired audio, cancel abandoned requests, report.

A run reads what is there (survey), decides what to remove and why without touching anything
(plan), does it while checking each item once more (apply), and reports one result everywhere
(report).

From Python, ``narration_cleanup.plan(settings)``, ``run(settings)``, ``stats(settings)`` and
``explain(settings, name)`` return the documents of the command line: see docs/python.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

__version__ = "0.2.0"
__all__ = [
    "BusyError",
    "CleanupError",
    "ConfigError",
    "RefusedError",
    "Settings",
    "__version__",
    "explain",
    "load_settings",
    "plan",
    "run",
    "stats",
]

_API = "narration_cleanup.run.api"
"""Imported by name: what type checkers see is in __init__.pyi."""


class _Callable(ModuleType):
    """``plan`` and ``run``: packages of the program, which are functions for its users too."""

    def __call__(self, *arguments: object, **options: object) -> object:
        name = self.__name__.rpartition(".")[2]
        return _function(name)(*arguments, **options)


class _Package(ModuleType):
    """Imports nothing until one of its functions is asked for."""

    def __getattr__(self, name: str) -> object:
        if name in ("plan", "run"):
            return _imported(f"{__name__}.{name}")
        if name in __all__:
            return _function(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("plan", "run") and isinstance(value, ModuleType):
            value.__class__ = _Callable  # whoever imports it first
        super().__setattr__(name, value)


def _imported(name: str) -> ModuleType:
    from importlib import import_module

    return import_module(name)


def _function(name: str) -> Callable[..., object]:
    found: Callable[..., object] = getattr(_imported(_API), name)
    return found


sys.modules[__name__].__class__ = _Package
