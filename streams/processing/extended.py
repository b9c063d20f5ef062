"""The operators that are shipped, and those of extensions: one value, which cores and commands are handed."""

from __future__ import annotations

from collections.abc import Iterable

from streams.errors import InputError
from streams.events.extensions import kinds_of, load
from streams.processing.operators import Operator, Operators
from streams.processing.shipped import SHIPPED_OPERATORS


def extended_operators(names: Iterable[str]) -> Operators:
    """What is shipped, and what the packages `names` give, in the order in which they are named.

    InputError where one cannot be loaded (`streams.events.extensions`), names what another has, or does not
    go together with the rest (`Operators.of`).
    """
    extensions = load(names)
    if not extensions:
        return SHIPPED_OPERATORS
    kinds, operators = kinds_of(extensions), list(SHIPPED_OPERATORS.values())
    for extension in extensions:
        for operator in extension.operators:
            if not isinstance(operator, Operator):
                raise InputError(
                    f"extension {extension.name}: OPERATORS holds a {type(operator).__name__}, expected "
                    "nothing but streams.processing.operators.Operator"
                )
            operators.append(operator)
        try:
            Operators.of(kinds, *operators)
        except InputError as error:
            raise InputError(f"extension {extension.name}: {error}") from None
    return Operators.of(kinds, *operators)
