"""Commands whose options cost nothing where nobody gives them, and whose help hides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter
    from typer._click.core import Parameter


_PANELS_NEED = 80
_BETWEEN_COLUMNS = (0, 1, 0, 0)
"""Typer's own gaps, two columns wide, would cut the longest variable at 80 columns."""


class FrugalOption(TyperOption):
    """An option whose default is taken as it is.

    Typer would convert it like anything given, and import pydantic for that: a third of the time
    that a short command takes.
    """

    def process_value(self, ctx: Context, value: object) -> object:
        """The default itself, or what was given, converted and checked."""
        if value is not self.default or self.required:
            return super().process_value(ctx, value)
        return value if self.callback is None else self.callback(ctx, self, value)

    def display_type_rich(self, ctx: Context) -> str | None:
        """What stands for the value in the help: nothing for a flag, which takes none."""
        return None if self.is_flag else super().display_type_rich(ctx)


class LazyCommand(TyperCommand):
    """A command with such options."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Its own options and ``--help``."""
        return _frugal(super().get_params(ctx))

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """The help: in panels where they have room for every word."""
        from typer import rich_utils

        if rich_utils._get_rich_console().width < _PANELS_NEED:
            self.rich_markup_mode = None
        vars(rich_utils).update(STYLE_OPTIONS_TABLE_PADDING=_BETWEEN_COLUMNS)
        super().format_help(ctx, formatter)


class LazyGroup(TyperGroup):
    """A group of commands with such options."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Its own options and ``--help``."""
        return _frugal(super().get_params(ctx))


def _frugal(params: list[Parameter]) -> list[Parameter]:
    """Typer makes the options itself, and cannot be told of which class."""
    for param in params:
        if type(param) is TyperOption:
            param.__class__ = FrugalOption
    return params
