"""The option `--extend`: packages with kinds and operators of others, for the commands that meet events."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from streams import settings
from streams.events.extensions import extended

if TYPE_CHECKING:
    from streams.processing.operators import Operators

T = TypeVar("T", bound=Callable[..., Any])


def _option(parameter: str, loaded: Callable[[tuple[str, ...]], Any]) -> Callable[[T], T]:
    return click.option(
        "--extend",
        parameter,
        multiple=True,
        default=settings.EXTEND,
        callback=lambda _context, _parameter, names: loaded(names),
        metavar="PACKAGE",
        help="A package with kinds and operators of your own, by the name that `import` takes; looked for "
        "among what is installed, then in the current directory. May be given several times.",
    )


def _operators(names: tuple[str, ...]) -> Operators:
    # Who only needs kinds need not wait for what computes.
    from streams.processing.extended import extended_operators  # noqa: PLC0415

    return extended_operators(names)


def operators_option(command: T) -> T:
    """Give a command `--extend`; its argument `operators` are those that are shipped, and the packages'."""
    return _option("operators", _operators)(command)


def kinds_option(command: T) -> T:
    """Give a command `--extend`; its argument `kinds` are those that are shipped, and the packages'."""
    return _option("kinds", extended)(command)
