"""Extensions: packages of others that give kinds of event and operators, each loaded because it was named.

A package gives `KINDS`, a list of `Kind`, or `OPERATORS`, a list of `Operator`, or both, at the top of its
module. What they go together to is a value, that is handed on: nothing is registered anywhere.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from streams.errors import InputError, SightlineError
from streams.events.kinds import Kind, Kinds
from streams.events.shipped import SHIPPED

_GIVES = ("KINDS", "OPERATORS")


@dataclass(frozen=True, slots=True)
class Extension:
    """What a package gives; what its operators are, `streams.processing.extended` looks at."""

    name: str
    kinds: tuple[Kind, ...]
    operators: tuple[Any, ...]


def load(names: Iterable[str]) -> tuple[Extension, ...]:
    """Import packages by name and return what each gives; one that is named twice is loaded once.

    They are looked for among the installed packages, and then in the current directory: what lies there
    stands in for nothing that is installed.

    InputError where one cannot be imported, gives neither kinds nor operators, or something else in their
    place.
    """
    return tuple(map(_loaded, dict.fromkeys(names)))


def extended(names: Iterable[str]) -> Kinds:
    """The kinds that are shipped, and those of the packages `names`; InputError as `load` and `kinds_of`."""
    return kinds_of(load(names))


def kinds_of(extensions: Sequence[Extension]) -> Kinds:
    """The kinds that are shipped, and those of extensions; InputError where two have one name."""
    kinds, owners = list(SHIPPED.values()), dict.fromkeys(SHIPPED, "")
    for extension in extensions:
        for kind in extension.kinds:
            if kind.name in owners:
                owner = owners[kind.name]
                before = f"{owner} has one of this name" if owner else "there is a shipped one of this name"
                twice = "its KINDS name it twice" if owner == extension.name else before
                raise InputError(
                    f"extension {extension.name}, kind {kind.name}: {twice}, expected a name that no other "
                    "kind has; rename it"
                )
            owners[kind.name] = extension.name
            kinds.append(kind)
    return Kinds.of(*kinds)


def _loaded(name: str) -> Extension:
    module = _imported(name)
    if not any(hasattr(module, attribute) for attribute in _GIVES):
        raise InputError(
            f"extension {name}: found neither KINDS nor OPERATORS in {module.__file__}, expected a list of "
            "kinds, of operators, or one of each; docs/extending.md has an example"
        )
    kinds, operators = (_listed(module, name, attribute) for attribute in _GIVES)
    for kind in kinds:
        if not isinstance(kind, Kind):
            raise InputError(
                f"extension {name}: KINDS of {module.__file__} holds a {type(kind).__name__}, expected "
                "nothing but streams.events.kinds.Kind"
            )
    return Extension(name, kinds, operators)


def _listed(module: ModuleType, name: str, attribute: str) -> tuple[Any, ...]:
    listed = getattr(module, attribute, ())
    if not isinstance(listed, list | tuple):
        raise InputError(
            f"extension {name}: {attribute} of {module.__file__} is a {type(listed).__name__}, expected "
            "a list"
        )
    return tuple(listed)


def _imported(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(
            f"extension {name!a}: found no name of a package, expected one as `import` takes it, such as "
            "my_glasses; a path is none"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        # Behind everything else, and it stays: what the package imports later may lie beside it.
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        raise InputError(
            f"extension {name}: found no package {error.name} (ModuleNotFoundError), neither among those of "
            f"{sys.prefix} nor in the current directory {here}; install it, or start where it lies"
        ) from None
    except Exception as error:
        raise _failed(name, error) from error


def _failed(name: str, error: Exception) -> InputError:
    """Say that a package fails while it is imported, and where; its own words are shown only where ours."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    own = f": {error}" if isinstance(error, SightlineError) else ""
    missing = f" ({error.name})" if isinstance(error, ModuleNotFoundError) and error.name else ""
    return InputError(
        f"extension {name}: importing it fails with {type(error).__name__}{missing} at "
        f'{last.filename}:{last.lineno}{own}; `python -c "import {name}"` shows all of it'
    )
