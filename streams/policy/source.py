"""The text of a policy: one TOML file, or a bundle of a file and the files that it imports.

Errors in it name file, line and word.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from streams import limits
from streams.errors import InputError, MalformedError, called_off
from streams.policy.bounds import check_toml

POLICIES = Path(__file__).parent / "policies"
#: Marks the beginning of each file in a bundle; the text of a policy of one file has no mark.
_MARK = "#=== file "
_SPLIT = re.compile(r"^#=== file (.+)$\n", re.MULTILINE)
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})")
#: Maximum number of characters that an error quotes of a word.
_SHOWN_CHARACTERS_MAX = 200


class Source:
    """One file of a policy, and errors about words in it."""

    def __init__(self, origin: str, text: str) -> None:
        self.origin, self.text = origin, text
        try:
            check_toml(text)
        except MalformedError as error:
            raise InputError(f"{origin}, {error}") from None
        try:
            self.fields: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{origin}: found text that is not TOML: {error}") from None
        except called_off():
            raise
        except BaseException as error:  # noqa: BLE001  also one that is no Exception
            raise InputError(
                f"{origin}: found text that the reader of TOML fails on ({type(error).__name__}),"
                " expected TOML"
            ) from None

    def line_of(self, term: str, table: str = "", behind: int = 0) -> int | None:
        """Number of the first line that contains `term`; None if there is none.

        Lines from the one that names `table` on are searched first; without `table`, those after `behind`.
        """
        lines = [_unescaped(content) for content in self.text.split("\n")]
        named = (n for n, content in enumerate(lines) if f'"{table}"' in content)
        begin = next(named, 0) if table else behind
        after = (n for n, content in enumerate(lines[begin:], begin + 1) if term in content)
        return next(after, None) or next((n for n, content in enumerate(lines, 1) if term in content), None)

    def nth_line(self, term: str, number: int) -> int:
        """Number of the line that is the `number`-th (from 0) to begin with `term`; 0 if there is none."""
        lines = [n for n, content in enumerate(self.text.split("\n"), 1) if content.startswith(term)]
        return lines[number] if number < len(lines) else 0

    def wrong(
        self, term: str, fault: str, known: Collection[str] = (), table: str = "", behind: int = 0
    ) -> InputError:
        """Make the error that `term` is wrong as `fault` says, with its line and the nearest of `known`.

        `table` is the name of the table that contains the term; without a name, the table begins at `behind`.
        """
        line = self.line_of(term, table, behind)
        where = f"{self.origin}, line {line}" if line else self.origin
        # Imported here, because questions to the store need it only if a policy is wrong, and start faster.
        from difflib import get_close_matches  # noqa: PLC0415

        near = get_close_matches(term, list(known), n=1, cutoff=0.5)
        hint = (
            f"; did you mean '{near[0]}'?"
            if near
            else (f"; expected one of {', '.join(known)}" if known else "")
        )
        # A word that could look like another one, or move the cursor, is shown with escapes.
        brief = term if len(term) <= _SHOWN_CHARACTERS_MAX else f"{term[:_SHOWN_CHARACTERS_MAX]}..."
        shown = f"'{brief}'" if term.isascii() and term.isprintable() else ascii(brief)
        return InputError(f"{where}: {shown} {fault}{hint}")

    def check(self, words: Iterable[str], known: Collection[str], fault: str, table: str = "") -> None:
        """InputError if one of `words` (in the table of the name `table`) is not in `known`."""
        for word in words:
            if word not in known:
                raise self.wrong(str(word), fault, known, table)

    def table(
        self, fields: Mapping[str, Any], known: Mapping[str, type], where: str, optional: Collection[str] = ()
    ) -> None:
        """InputError if a table has an unknown field, one of another type, or lacks a required one.

        `known` maps names of fields to types.
        """
        own = str(fields.get("name", ""))
        self.check(fields, known, f"is not a field of {where}", own)
        here = where.rpartition(" ")[2]
        for name, wanted in known.items():
            if name not in fields:
                if name not in optional:
                    raise self.wrong(here, f"lacks the field '{name}'")
            elif type(fields[name]) is not wanted:
                raise self.wrong(
                    name, f"of {where} is {type(fields[name]).__name__}, expected {wanted.__name__}", (), own
                )


def _unescaped(line: str) -> str:
    """Replace the Unicode escapes in a line of TOML by their characters."""
    return _ESCAPE.sub(lambda escape: chr(min(int(escape[1] or escape[2], 16), sys.maxunicode)), line)


def find(name: str) -> Path:
    """Path of a policy: a file, or the name of a shipped one; InputError, which lists these, for others."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = POLICIES / f"{name}.toml"
    if shipped.is_file():
        return shipped
    names = ", ".join(shipped_names())
    raise InputError(
        f"policy {name}: found no such file, expected a path to a policy or one of the shipped ones: {names}"
    )


def shipped_names() -> list[str]:
    """Names of the shipped policies, which `find` accepts, sorted."""
    return sorted(path.stem for path in POLICIES.glob("*.toml"))


def bundle(path: Path) -> str:
    """Text of a policy with all files that it imports, imported files first.

    The bundle is what is published on `glasses.policies`, and its digest is the version. A file that already
    is a bundle is returned unchanged. An import is a path relative to the importing file or to the directory
    of the shipped policies. InputError if one is missing, or if files import each other in a circle.
    """
    text = read(path)
    if text.startswith(_MARK):
        return text
    files: dict[str, str] = {}
    _collect(path, path.name, files, ())
    if len(files) == 1:
        return next(iter(files.values()))
    return "".join(f"{_MARK}{name}\n{text.rstrip()}\n" for name, text in files.items())


def _collect(path: Path, name: str, files: dict[str, str], chain: tuple[str, ...]) -> None:
    if name in chain:
        raise InputError(
            f"{path}: imports itself: {' -> '.join((*chain[chain.index(name) :], name))}; "
            "take one of these imports out"
        )
    if name in files:
        return
    text = read(path)
    source = Source(str(path), text)
    for imported in _imports(source):
        place = next((file for file in (path.parent / imported, POLICIES / imported) if file.is_file()), None)
        if place is None:
            raise source.wrong(imported, f"is no file beside it or in {POLICIES.name}/")
        _collect(place, imported, files, (*chain, name))
    files[name] = text


def read(path: Path) -> str:
    """Text of a file; InputError if it cannot be read as UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as text ({type(error).__name__}), expected a policy in TOML, UTF-8"
        ) from None


def _imports(source: Source) -> Sequence[str]:
    imports = source.fields.get("imports", [])
    if not isinstance(imports, list) or not all(isinstance(name, str) for name in imports):
        raise source.wrong("imports", "is no list of file names")
    return imports


def sources(text: str, origin: str) -> list[Source]:
    """The files of a policy's text, imported ones first and the policy itself last.

    `origin` is the policy's name in errors. InputError if an imported file is missing in the text, or if the
    text is longer than POLICY_BYTES_MAX.
    """
    if len(text.encode(errors="replace")) > limits.POLICY_BYTES_MAX:
        raise InputError(
            f"{origin}: found more than {limits.POLICY_BYTES_MAX} bytes with what it imports, expected a"
            " shorter policy; take apart what is in it"
        )
    if not text.startswith(_MARK):
        files = [Source(origin, text)]
        names = {""}
    else:
        parts = _SPLIT.split(text)[1:]
        names = set(parts[::2])
        files = [
            Source(
                f"{origin}: {name if name.isprintable() else ascii(name)}"
                if at < len(parts) // 2 - 1
                else origin,
                content,
            )
            for at, (name, content) in enumerate(zip(parts[::2], parts[1::2], strict=True))
        ]
    for source in files:
        source.check(
            _imports(source),
            sorted(names - {""}),
            "is imported but not in this text, expected the whole policy",
        )
    return files
