"""Commands whose options cost nothing where nobody gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    from typer._click import Context
    from typer._click.core import Parameter


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


class FrugalCommand(TyperCommand):
    """A command with such options."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Its own options and ``--help``."""
        return _frugal(super().get_params(ctx))


class FrugalGroup(TyperGroup):
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
