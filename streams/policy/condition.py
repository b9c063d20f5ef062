"""Conditions in CEL (Common Expression Language, cel.dev) over documented facts.

Results are cached by the values of the facts that a condition names.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

from streams.errors import called_off
from streams.limits import CONDITION_RESULTS_MAX
from streams.policy.bounds import steps_of

_LITERAL = re.compile(r"""'([^']*)'|"([^"]*)\"""")
#: A condition that uses only these functions cannot distinguish words that it does not name.
_PLAIN = frozenset({"_&&_", "_||_", "!_", "_==_", "_!=_", "@in", "_?_:_"})

_LARGER = frozenset({"_<_", "_<=_", "_>_", "_>=_"})

Facts = Mapping[str, Any]


def _library() -> Any:
    """Load the CEL library without its package, whose terminal interface would cost 0.2 s and 15 MB."""
    name = "cel.cel"
    if name not in sys.modules:
        package = find_spec("cel")
        spec = PathFinder.find_spec(name, package.submodule_search_locations) if package else None
        if spec is None or spec.loader is None:
            raise ImportError("cel: found no such library")
        # It cannot be loaded twice, so it is registered by its name for other imports of the package.
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


cel = _library()


class Condition:
    """One CEL condition. `names` are the facts that it uses, `literals` the quoted words in it.

    ValueError with a sentence if `text` is no CEL or exceeds the bounds (`streams.policy.bounds`).
    """

    def __init__(self, text: str) -> None:
        #: Number of tokens that it evaluates for one event in the worst case.
        self.steps = steps_of(text)
        try:
            self._program = cel.compile(text)
        except ValueError as error:
            raise ValueError(str(error).splitlines()[0]) from None
        except called_off():
            raise
        except BaseException as error:  # noqa: BLE001  a panic of the CEL library is no Exception
            raise ValueError(f"the reader of CEL fails on it: {type(error).__name__}") from None
        self.text = text
        self.names: tuple[str, ...] = tuple(sorted(self._program.variables()))
        self.literals = tuple(dict.fromkeys(a or b for a, b in _LITERAL.findall(text)))
        functions = set(self._program.functions())
        #: `plain`: it only tests equality and membership; `by_membership`: it may also compare numbers.
        self.plain, self.by_membership = functions <= _PLAIN, functions <= _PLAIN | _LARGER
        self._of = lru_cache(maxsize=CONDITION_RESULTS_MAX)(self._evaluate)

    def holds(self, facts: Facts) -> bool:
        """Whether the condition holds; TypeError if it does not type-check on these facts."""
        return self._of(*(facts[name] for name in self.names))

    def _evaluate(self, *values: Any) -> bool:
        try:
            outcome = self._program.execute(dict(zip(self.names, values, strict=True)))
        except called_off():
            raise
        except BaseException as error:  # noqa: BLE001  after any error of CEL there is no result for these facts
            raise TypeError(str(error).split(": ", 1)[-1].split(". ", 1)[0]) from None
        if outcome is not True and outcome is not False:
            raise TypeError(f"gives {type(outcome).__name__}, expected true or false")
        return bool(outcome)


def telling(conditions: Iterable[Condition], name: str, domain: Sequence[Any]) -> list[Any]:
    """Values of the fact `name` that represent all of `domain`, as far as these conditions can distinguish.

    These are all words that they name, and one that they do not name; all of `domain` if it has no words or a
    condition that uses it is not `plain`.
    """
    naming = [condition for condition in conditions if name in condition.names]
    if not naming:
        return list(domain[:1])
    # Only words are quoted, so `literals` has no values of other types.
    if not isinstance(domain[0], str) or not all(condition.plain for condition in naming):
        return list(domain)
    named = {word for condition in naming for word in condition.literals}
    rest = [value for value in domain if value not in named]
    return [value for value in domain if value in named] + rest[:1]
