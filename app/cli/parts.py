"""Parts of the command, opened when they are asked for.

``liuzhang status`` needs no database library, and the list of commands needs nothing at all.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

__all__ = ["Part", "PartsGroup"]


@dataclass(frozen=True, slots=True)
class Part:
    """Where a command of the top level is, and how the list of commands tells it.

    ``help`` repeats the first line of the command's own, so that the list can be shown without opening anything.
    """

    module: str
    help: str
    panel: str


class PartsGroup(TyperGroup):
    """A group of commands that are known by name and opened when one is run, completed or asked for help."""

    parts: ClassVar[dict[str, Part]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, help=part.help, rich_help_panel=part.panel) for name, part in self.parts.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that is meant, and open it."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found if name is None else self.opened(name), rest

    def opened(self, name: str) -> Any:
        """The command itself: of the part's commands the one of this name, or the part where it is a group of it."""
        group = get_group(import_module(self.parts[name].module).commands)
        return group if group.name == name else group.commands[name]
