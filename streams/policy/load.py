"""Reading a policy file: every error names the file, the line, the term and the nearest right word."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import cel

from streams.errors import InputError
from streams.events.kinds import KINDS
from streams.policy import label as lattice
from streams.policy.attributes import Attributes, known_words
from streams.policy.policy import Declassifier, Policy, Sink, Vocabulary, Zone

POLICIES = Path(__file__).parent / "policies"
MODES = ("enforcing", "logging")
_ZONE_FIELDS = ("name", "rank", "when", "mode", "categories", "subjects", "purposes", "regions", "retention", "obligations", "reason")
_ZONE_WORDS = ("subjects", "purposes", "regions", "obligations")
_SINK_FIELDS = ("name", "purpose", "region", "always_enforced")
_DECLASSIFIER_FIELDS = ("name", "owner", "reason", "evidence", "retention")
_TOP = ("name", "about", "vocabulary", "kinds", "zones", "sinks", "declassifiers", "served_purposes", "seed_zone")
_LITERAL = re.compile(r"""'([^']*)'|"([^"]*)\"""")


class _Source:
    """A policy's text with a way to complain about a term in it."""

    def __init__(self, origin: str, text: str) -> None:
        self.origin, self.text = origin, text

    def wrong(self, term: str, what: str, known: Collection[str] = ()) -> InputError:
        line = next((n for n, content in enumerate(self.text.splitlines(), 1) if term in content), None)
        where = f"{self.origin}, line {line}" if line else self.origin
        near = difflib.get_close_matches(term, list(known), n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else (f"; expected one of {', '.join(known)}" if known else "")
        return InputError(f"{where}: '{term}' {what}{hint}")

    def check(self, words: Iterable[str], known: Collection[str], what: str) -> None:
        for word in words:
            if word not in known:
                raise self.wrong(str(word), what, known)

    def table(self, fields: Mapping[str, Any], known: Collection[str], where: str, optional: Collection[str] = ()) -> None:
        self.check(fields, known, f"is not a field of {where}")
        for name in known:
            if name not in fields and name not in optional:
                raise self.wrong(where, f"lacks the field '{name}'")


def find(name: str) -> Path:
    """Path of a policy: a file, or the name of one that is shipped; InputError names the shipped ones."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = POLICIES / f"{name}.toml"
    if shipped.is_file():
        return shipped
    names = ", ".join(sorted(p.stem for p in POLICIES.glob("*.toml")))
    raise InputError(f"policy {name}: found no such file, expected a path to a policy or one of the shipped ones: {names}")


def load(name: str) -> Policy:
    """Load a policy by path or shipped name; InputError where it is wrong."""
    path = find(name)
    return parse(path.read_text(encoding="utf-8"), str(path))


def parse(text: str, origin: str) -> Policy:
    """Build a policy from TOML text; `origin` is what errors call it. Its version is the SHA-256 of the text (64 bits)."""
    source = _Source(origin, text)
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{origin}: found text that is not TOML: {error}") from None
    source.table(fields, _TOP, "the policy", optional=("about",))
    vocabulary = _vocabulary(source, fields["vocabulary"])
    zones = tuple(sorted((_zone(source, zone, vocabulary) for zone in fields["zones"]), key=lambda zone: -zone.rank))
    if len({zone.rank for zone in zones}) < len(zones):
        raise source.wrong("rank", "is the same in two zones, expected a rank of its own in each")
    labels, derived = _labels(source, fields, vocabulary)
    source.check(fields["served_purposes"], vocabulary.purposes, "is not a purpose of the vocabulary")
    source.check([fields["seed_zone"]], [zone.name for zone in zones], "is not a zone")
    sinks = {}
    for sink in fields["sinks"]:
        source.table(sink, _SINK_FIELDS, f"sink {sink.get('name')}", optional=("always_enforced",))
        source.check([sink["purpose"]], vocabulary.purposes, "is not a purpose of the vocabulary")
        source.check([sink["region"]], vocabulary.regions, "is not a region of the vocabulary")
        sinks[sink["name"]] = Sink(sink["name"], sink["purpose"], sink["region"], sink.get("always_enforced", False))
    declassifiers = {}
    for item in fields["declassifiers"]:
        source.table(item, _DECLASSIFIER_FIELDS, f"declassifier {item.get('name')}")
        source.check([item["retention"]], vocabulary.retention_days, "is not a retention class of the vocabulary")
        declassifiers[item["name"]] = Declassifier(**item)
    return Policy(fields["name"], hashlib.sha256(text.encode()).hexdigest()[:16], text, vocabulary, zones, sinks, declassifiers,
                  labels, derived, vocabulary.mask("purposes", fields["served_purposes"]), fields["seed_zone"])


def _vocabulary(source: _Source, fields: Mapping[str, Any]) -> Vocabulary:
    known = ("categories", "subjects", "purposes", "regions", "obligations", "retention_days")
    source.table(fields, known, "vocabulary")
    days = fields["retention_days"]
    if list(days.values()) != sorted(days.values()):
        raise source.wrong("retention_days", "is not ordered, expected the shortest class first")
    for name in known[:-1]:
        if len(fields[name]) > lattice.CAPACITY[name] or len(set(fields[name])) < len(fields[name]):
            raise source.wrong(name, f"has {len(fields[name])} words, expected at most {lattice.CAPACITY[name]}, each once")
    return Vocabulary(**{name: tuple(fields[name]) for name in known[:-1]}, retention_days=days)


def _zone(source: _Source, fields: Mapping[str, Any], vocabulary: Vocabulary) -> Zone:
    source.table(fields, _ZONE_FIELDS, f"zone {fields.get('name')}", optional=("categories", "obligations"))
    source.check([fields["mode"]], MODES, "is not a mode")
    source.check([fields["retention"]], vocabulary.retention_days, "is not a retention class of the vocabulary")
    for name in ("categories", *_ZONE_WORDS):
        source.check(fields.get(name, ()), getattr(vocabulary, name), f"is not in the vocabulary's {name}")
    condition = fields["when"]
    try:
        program = cel.compile(condition)
    except ValueError as error:
        raise source.wrong(condition, f"is not a CEL condition ({str(error).splitlines()[0]})") from None
    source.check(sorted(program.variables()), Attributes._fields, "is not an attribute that a condition may look at")
    if "stream" not in program.variables():
        source.check((a or b for a, b in _LITERAL.findall(condition)), sorted(known_words()), "is a word that no attribute can have")
    return Zone(fields["name"], fields["rank"], condition, program, fields["mode"], fields["retention"])


def _labels(source: _Source, fields: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[dict[tuple[str, str], bytes], dict[str, bytes]]:
    """Labels of (captured kind, zone), and what each derived kind adds to the join of its parents."""
    classes = list(vocabulary.retention_days)
    every = {name: vocabulary.mask(name, getattr(vocabulary, name)) for name in ("purposes", "regions")}
    labels, derived = {}, {}
    for kind, content in fields["kinds"].items():
        source.check([kind], KINDS, "is not a kind of event")
        source.table(content, ("categories", "nature"), f"kind {kind}")
        source.check(content["categories"], vocabulary.categories, "is not in the vocabulary's categories")
        source.check([content["nature"]], lattice.NATURES, "is not a nature of data")
        nature = lattice.NATURES.index(content["nature"])
        own = vocabulary.mask("categories", content["categories"])
        if kind in KINDS and KINDS[kind].captured:
            for zone in fields["zones"]:
                masks = {name: vocabulary.mask(name, zone.get(name, ())) for name in ("categories", *_ZONE_WORDS)}
                masks["categories"] |= own
                labels[kind, zone["name"]] = lattice.pack(**masks, retention=classes.index(zone["retention"]), nature=nature)
        else:
            derived[kind] = lattice.pack(categories=own, obligations=0, subjects=0, **every, retention=len(classes) - 1, nature=nature)
    for kind in KINDS:
        if not KINDS[kind].captured and kind not in derived:
            raise source.wrong("kinds", f"lacks the derived kind {kind}: what a stage makes must have a label")
    return labels, derived
