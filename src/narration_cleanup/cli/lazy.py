"""Commands whose options cost nothing unless they are given, and whose help cuts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

_PANELS_NEED = 80
_BETWEEN_COLUMNS = (0, 1, 0, 0)
"""Typer's own gaps, two columns wide, would cut the longest variable at 80 columns."""


def flag(names: str, text: str, panel: str | None = None) -> object:
    """An option that takes no value, ``-q,--quiet`` for example."""
    option = typer.Option(*names.split(","), help=text, rich_help_panel=panel)
    return Annotated[bool, option]


class _Option(TyperOption):
    """An option whose default, or whose text or path, is taken as it is.

    Typer would convert them, and import pydantic for that: a third of the time that a short
    command takes.
    """

    def process_value(self, ctx: Any, value: Any) -> Any:
        """What needs no check as it is, and else what was given, converted and checked."""
        kind, checks = self.type_descriptor.annotation, self.type_descriptor.parameter_info
        is_plain = value is self.default
        if isinstance(value, str) and (kind is str or (kind is Path and not checks.readable)):
            value, is_plain = kind(value), True
        if self.required or not is_plain:
            return super().process_value(ctx, value)
        return value if self.callback is None else self.callback(ctx, self, value)


def _with_plain_defaults(params: Sequence[Any]) -> list[Any]:
    """The same parameters: Typer makes the options itself, and takes no class for them."""
    return [_made_of(param) if type(param) is TyperOption else param for param in params]


@cache  # the parser and what reads its answer must have the same ones
def _made_of(param: TyperOption) -> _Option:
    option = _Option.__new__(_Option)
    vars(option).update(vars(param), metavar="" if param.is_flag else param.metavar)
    return option


class LazyGroup(TyperGroup):
    """A group of commands with such options."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options and ``--help``."""
        return _with_plain_defaults(super().get_params(ctx))


class LazyCommand(TyperCommand):
    """A command with such options; its help is in panels where they have room for every word."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options and ``--help``."""
        return _with_plain_defaults(super().get_params(ctx))

    def format_help(self, *given: Any) -> None:
        """The help, in panels or plain."""
        if typer.get_terminal_size().columns < _PANELS_NEED:
            self.rich_markup_mode = None
        else:
            from typer import rich_utils

            vars(rich_utils).update(STYLE_OPTIONS_TABLE_PADDING=_BETWEEN_COLUMNS)
        super().format_help(*given)
