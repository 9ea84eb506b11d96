"""Commands whose values cost nothing where they need no check, and whose help cuts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

_PANELS_NEED = 80
_BETWEEN_COLUMNS = (0, 1, 0, 0)
"""Typer's own gaps, two columns wide, would cut the longest variable at 80 columns."""


def flag(names: str, text: str, panel: str | None = None) -> object:
    """An option that takes no value, ``-q,--quiet`` for example."""
    option = typer.Option(*names.split(","), help=text, rich_help_panel=panel)
    return Annotated[bool, option]


def _plain(param: Any, value: Any) -> tuple[Any, bool]:
    """The value of an option or an argument, and whether no more has to be done to it: a default,
    a text, and a path that is checked by who uses it.

    Typer would convert them, and import pydantic for that: a third of the time that a short
    command takes.
    """
    kind, checks = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    if isinstance(value, str) and (kind is str or (kind is Path and not checks.readable)):
        return kind(value), True
    return value, value is param.default and not param.required


class _Option(TyperOption):
    def process_value(self, ctx: Any, value: Any) -> Any:
        value, is_plain = _plain(self, value)
        if not is_plain:
            return super().process_value(ctx, value)
        return value if self.callback is None else self.callback(ctx, self, value)


class _Argument(TyperArgument):
    def process_value(self, ctx: Any, value: Any) -> Any:
        value, is_plain = _plain(self, value)
        return value if is_plain else super().process_value(ctx, value)


_PLAIN: dict[type, type[TyperOption | TyperArgument]] = {
    TyperOption: _Option,
    TyperArgument: _Argument,
}


def _with_plain_values(params: Sequence[Any]) -> list[Any]:
    """The same parameters: Typer makes them itself, and takes no class for them."""
    return [_made_of(param) if type(param) in _PLAIN else param for param in params]


@cache  # the parser and what reads its answer must have the same ones
def _made_of(param: TyperOption | TyperArgument) -> TyperOption | TyperArgument:
    made = _PLAIN[type(param)]
    plain = made.__new__(made)
    vars(plain).update(vars(param))
    if isinstance(plain, TyperOption) and plain.is_flag:
        plain.metavar = ""
    return plain


class LazyGroup(TyperGroup):
    """A group of commands with such values."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options and ``--help``."""
        return _with_plain_values(super().get_params(ctx))


class LazyCommand(TyperCommand):
    """A command with such values; its help is in panels where they have room for every word."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options and ``--help``."""
        return _with_plain_values(super().get_params(ctx))

    def format_help(self, *given: Any) -> None:
        """The help, in panels or plain."""
        if typer.get_terminal_size().columns < _PANELS_NEED:
            self.rich_markup_mode = None
        else:
            from typer import rich_utils

            vars(rich_utils).update(STYLE_OPTIONS_TABLE_PADDING=_BETWEEN_COLUMNS)
        super().format_help(*given)
