"""The public codes of a plan's parts."""

__all__ = ["codes"]

_WIDTHS = (2, 2, 3)


def codes(plan: str, path: tuple[int, ...]) -> tuple[str, str]:
    """The code of a battle, group or task of ``plan``, and the key that sorts it in print order.

    ``path`` holds the ordinals from the battle down; an empty one is the plan itself.
    """
    code = "-".join([plan, *map(str, path)])
    padded = (f"{number:0{width}}" for number, width in zip(path, _WIDTHS, strict=False))
    return code, "-".join([plan, *padded])
