"""A small check of a value against a JSON Schema: exactly the keywords that ours use.

Any other one is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_IS: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_SAYS_NOTHING = frozenset({"$schema", "$id", "$comment", "title", "description"})
_BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "minLength": lambda value, bound: value is None or len(value) >= bound,
    "maxLength": lambda value, bound: value is None or len(value) <= bound,
    "minItems": lambda value, bound: len(value) >= bound,
    "maxItems": lambda value, bound: len(value) <= bound,
    "pattern": lambda value, bound: value is None or re.search(bound, value) is not None,
}


def faults(value: Any, schema: Mapping[str, Any], path: str = "value") -> Iterator[str]:
    """Yield a line for each place where `value` is not what `schema` says."""
    kinds = schema.get("type")
    if kinds is not None and not any(
        _is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ):
        yield f"{path}: found {type(value).__name__}, expected {kinds}"
        return
    for keyword, said in schema.items():
        if keyword in _SAYS_NOTHING or keyword == "type":
            continue
        if keyword in _BOUNDS:
            if not _BOUNDS[keyword](value, said):
                yield f"{path}: {keyword} {said} does not hold"
        else:
            yield from _structure(value, keyword, said, schema, path)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _IS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _structure(value: Any, keyword: str, said: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if keyword == "const" and value != said:
        yield f"{path}: expected {said!r}"
    elif keyword == "enum" and value not in said:
        yield f"{path}: expected one of {said}"
    elif keyword == "required":
        yield from (f"{path}: {name} is missing" for name in said if name not in value)
    elif keyword == "properties":
        for name, inner in said.items():
            if name in value:
                yield from faults(value[name], inner, f"{path}.{name}")
    elif keyword == "additionalProperties":
        others = [name for name in value if name not in schema.get("properties", ())]
        if said is False:
            yield from (f"{path}: {name} is not known" for name in others)
        else:
            for name in others:
                yield from faults(value[name], said, f"{path}.{name}")
    elif keyword == "items":
        for i, item in enumerate(value):
            yield from faults(item, said, f"{path}[{i}]")
    elif keyword == "anyOf":
        if all(list(faults(value, one, path)) for one in said):
            yield f"{path}: none of anyOf holds"
    elif keyword not in ("const", "enum"):
        raise AssertionError(f"keyword {keyword} is not known to this check")
