"""Commands whose values cost nothing where they need no check, and whose help cuts nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def _processed(param: Any, convert: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    """The value of an option or an argument: as it is where it is a default, a text, or a path that
    is checked by who uses it; else as Typer's own ``convert`` makes it.

    That imports pydantic, which takes a third of the time that a short command takes.
    """
    kind, checks = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    if isinstance(value, str) and (kind is str or (kind is Path and not checks.readable)):
        value = kind(value)
    elif value is not param.default or param.required:
        return convert(ctx, value)
    return value if param.callback is None else param.callback(ctx, param, value)


class _Option(TyperOption):
    def process_value(self, ctx: Any, value: Any) -> Any:
        return _processed(self, super().process_value, ctx, value)


class _Argument(TyperArgument):
    def process_value(self, ctx: Any, value: Any) -> Any:
        return _processed(self, super().process_value, ctx, value)


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
