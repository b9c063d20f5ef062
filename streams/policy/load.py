"""Reading a policy: every error names the file, the line, the word and the nearest right word."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from streams.errors import InputError
from streams.events.kinds import KINDS
from streams.policy import label as lattice
from streams.policy.analysis import check_requirements, check_zones
from streams.policy.attributes import DOMAINS, known_words
from streams.policy.condition import Condition
from streams.policy.examples import examples_of
from streams.policy.policy import Policy
from streams.policy.rules import FLOW_FACTS, RISKS, RUN_BY, TRAINED_ON, Declassifier, Requirement, Sink, Zone
from streams.policy.source import Source, bundle, find, sources
from streams.policy.vocabulary import CURIES, LISTS, PREFIXES, Vocabulary
from streams.topology import CROSSINGS

MODES = ("enforcing", "logging")
EVERY = "*"
_LISTED, _MERGED = ("zones", "sinks", "requirements", "declassifiers", "tests"), ("vocabulary", "kinds")
_OWN = {"name": str, "about": str, "served_purposes": list, "seed_zone": str}
_TOP = {**_OWN, "imports": list, **dict.fromkeys(_MERGED, dict), **dict.fromkeys(_LISTED, list)}
_VOCABULARY = {**dict.fromkeys(LISTS, list), "retention_days": dict, "local": dict}
_ZONE = {
    "name": str,
    "rank": int,
    "when": str,
    "mode": str,
    **dict.fromkeys(LISTS, list),
    "retention": str,
    "reason": str,
    "without_consent": bool,
    "restricted": bool,
}
_SINK = {
    "name": str,
    "about": str,
    "purpose": str,
    "region": str,
    "receives": list,
    "subjects": list,
    "honours": list,
    "risk": str,
    "run_by": str,
    "trained_on": str,
    "always_enforced": bool,
}
_REQUIREMENT = {"name": str, "about": str, "when": str, "require": str, "sinks": list}
_DECLASSIFIER = {
    "name": str,
    "owner": str,
    "reason": str,
    "evidence": str,
    "retention": str,
    "wearers_min": int,
    "review_by": date,
}

Placed = Sequence[tuple[Source, Mapping[str, Any]]]


def load(name: str, today: date | None = None) -> Policy:
    """Load a policy by path or shipped name; InputError where it is wrong.

    With `today`, a declassifier whose review is overdue is an error as well; a policy that is already in
    force stays.
    """
    path = find(name)
    return parse(bundle(path), str(path), today)


def parse(text: str, origin: str, today: date | None = None) -> Policy:
    """Build a policy from its text; `origin` is what errors call it.

    Its version is the SHA-256 of the text (64 bits).
    """
    files = sources(text, origin)
    for source in files:
        source.check(source.fields, _TOP, "is not a field of the policy")
        source.table(source.fields, _TOP, "the policy", optional=_TOP)
    main = files[-1]
    main.table(
        {name: main.fields[name] for name in _OWN if name in main.fields},
        _OWN,
        "the policy",
        optional=("about",),
    )
    vocabulary = _vocabulary(files)
    zones = sorted(
        (_zone(source, fields, vocabulary) for source, fields in _all(files, "zones")),
        key=lambda zone: -zone.rank,
    )
    check_zones(zones, {fields["name"]: source for source, fields in _all(files, "zones")})
    labels, derived = _labels(files, vocabulary)
    sinks = {fields["name"]: _sink(source, fields, vocabulary) for source, fields in _all(files, "sinks")}
    for crossing in CROSSINGS:
        if crossing not in sinks:
            raise main.wrong(
                crossing,
                "is a place that data crosses into and that no sink declares, "
                "expected [[sinks]] of that name",
            )
    requirements = tuple(
        _requirement(source, fields, vocabulary, sinks) for source, fields in _all(files, "requirements")
    )
    declassifiers = {
        fields["name"]: _declassifier(source, fields, vocabulary, today)
        for source, fields in _all(files, "declassifiers")
    }
    main.check(main.fields["served_purposes"], vocabulary.purposes, "is not a purpose of the vocabulary")
    main.check([main.fields["seed_zone"]], [zone.name for zone in zones], "is not a zone")
    examples = examples_of(_all(files, "tests"), [zone.name for zone in zones], sinks)
    policy = Policy(
        main.fields["name"],
        hashlib.sha256(text.encode()).hexdigest()[:16],
        text,
        vocabulary,
        tuple(zones),
        sinks,
        requirements,
        declassifiers,
        labels,
        derived,
        vocabulary.mask("purposes", main.fields["served_purposes"]),
        main.fields["seed_zone"],
        examples,
    )
    check_requirements(policy, {fields["name"]: source for source, fields in _all(files, "requirements")})
    return policy


def _all(files: Iterable[Source], name: str) -> list[tuple[Source, Mapping[str, Any]]]:
    """The tables of a list in all files; InputError when one is none, has no name, or has that of another."""
    found: list[tuple[Source, Mapping[str, Any]]] = []
    names: set[str] = set()
    for source in files:
        for fields in source.fields.get(name, ()):
            own = fields.get("name") if isinstance(fields, dict) else None
            if not isinstance(fields, dict) or (name != "tests" and not isinstance(own, str)):
                raise source.wrong(
                    name, "holds something without a name, expected tables that begin [[...]] and have one"
                )
            if name != "tests" and own in names:
                raise source.wrong(str(own), f"stands twice in {name}", (), str(own))
            names.add(str(own))
            found.append((source, fields))
    return found


def _vocabulary(files: Sequence[Source]) -> Vocabulary:
    words: dict[str, list[str]] = {name: [] for name in LISTS}
    days: dict[str, int] = {}
    local: dict[str, str] = {}
    said = [source for source in files if "vocabulary" in source.fields]
    if not said:
        raise files[-1].wrong(
            "vocabulary", "is missing, expected the closed lists of words, here or in a file that is imported"
        )
    for source in said:
        fields = source.fields["vocabulary"]
        source.table(fields, _VOCABULARY, "the vocabulary", optional=_VOCABULARY)
        local |= fields.get("local", {})
        days |= fields.get("retention_days", {})
        for name in LISTS:
            for word in fields.get(name, ()):
                _check_word(source, name, str(word), words[name], local)
                words[name].append(str(word))
    source = said[-1]
    for name in LISTS:
        if not 0 < len(words[name]) <= lattice.CAPACITY[name]:
            raise source.wrong(name, f"has {len(words[name])} words, expected 1 to {lattice.CAPACITY[name]}")
    if (
        not days
        or any(type(one) is not int or one < 1 for one in days.values())
        or list(days.values()) != sorted(days.values())
    ):
        raise source.wrong("retention_days", "is not ordered, expected whole days, the shortest class first")
    return Vocabulary(**{name: tuple(words[name]) for name in LISTS}, retention_days=days, local=local)


def _check_word(source: Source, name: str, word: str, known: Sequence[str], local: Mapping[str, str]) -> None:
    if name in CURIES and (":" not in word or word.partition(":")[0] not in PREFIXES):
        raise source.wrong(word, "is no CURIE of DPV or of this policy", [f"{one}:" for one in PREFIXES])
    if word in known:
        raise source.wrong(word, f"stands twice in {name}")
    if word.startswith("local:") and word not in local:
        raise source.wrong(
            word, "is a local word that vocabulary.local does not explain: say there why DPV has none for it"
        )


def _condition(source: Source, text: str, names: Iterable[str]) -> Condition:
    try:
        condition = Condition(text)
    except ValueError as error:
        raise source.wrong(text, f"is not a CEL condition ({error})") from None
    source.check(condition.names, list(names), "is not something that this condition may look at")
    return condition


def _zone(source: Source, fields: Mapping[str, Any], vocabulary: Vocabulary) -> Zone:
    where, at = f"zone {fields['name']}", str(fields["name"])
    source.table(
        fields, _ZONE, where, optional=("categories", "obligations", "without_consent", "restricted")
    )
    source.check([fields["mode"]], MODES, "is not a mode", at)
    source.check(
        [fields["retention"]], vocabulary.retention_days, "is not a retention class of the vocabulary", at
    )
    for name in LISTS:
        source.check(
            fields.get(name, ()), getattr(vocabulary, name), f"is not in the vocabulary's {name}", at
        )
    condition = _condition(source, fields["when"], DOMAINS)
    if "stream" not in condition.names:
        source.check(
            condition.literals, known_words(condition.names), "is a word that no attribute can have", at
        )
    return Zone(
        fields["name"],
        fields["rank"],
        condition,
        fields["mode"],
        fields["retention"],
        fields["reason"],
        fields.get("without_consent", False),
        fields.get("restricted", False),
    )


def _sink(source: Source, fields: Mapping[str, Any], vocabulary: Vocabulary) -> Sink:
    where, at = f"sink {fields['name']}", str(fields["name"])
    source.table(
        fields, _SINK, where, optional=("about", "honours", "risk", "run_by", "trained_on", "always_enforced")
    )
    source.check([fields["purpose"]], vocabulary.purposes, "is not a purpose of the vocabulary", at)
    source.check([fields["region"]], vocabulary.regions, "is not a region of the vocabulary", at)
    masks = {}
    for name, known in (("receives", "categories"), ("subjects", "subjects"), ("honours", "obligations")):
        words = fields.get(name, [])
        source.check(
            (word for word in words if word != EVERY),
            getattr(vocabulary, known),
            f"is not in the vocabulary's {known}",
            at,
        )
        masks[name] = vocabulary.mask(known, getattr(vocabulary, known) if EVERY in words else words)
    said = {
        name: fields.get(name, otherwise)
        for name, otherwise in (("risk", "low"), ("run_by", "company"), ("trained_on", "nothing"))
    }
    for name, allowed in (("risk", RISKS), ("run_by", RUN_BY), ("trained_on", TRAINED_ON)):
        source.check([said[name]], allowed, f"is not a {name} that a sink can have", at)
    return Sink(
        fields["name"],
        fields["purpose"],
        fields["region"],
        masks["receives"],
        masks["subjects"],
        masks["honours"],
        fields.get("always_enforced", False),
        said["risk"],
        said["run_by"],
        said["trained_on"],
        fields.get("about", ""),
    )


def _requirement(
    source: Source, fields: Mapping[str, Any], vocabulary: Vocabulary, sinks: Mapping[str, Sink]
) -> Requirement:
    where, at = f"requirement {fields['name']}", str(fields["name"])
    source.table(fields, _REQUIREMENT, where, optional=("when", "sinks"))
    source.check(fields.get("sinks", ()), sinks, "is not a sink that this policy declares", at)
    conditions = [
        _condition(source, fields[name], FLOW_FACTS) for name in ("when", "require") if name in fields
    ]
    words = [
        *(word for name in LISTS for word in getattr(vocabulary, name)),
        *lattice.NATURES,
        *RISKS,
        *RUN_BY,
        *TRAINED_ON,
        *sinks,
    ]
    for condition in conditions:
        if "zone" not in condition.names:
            source.check(condition.literals, words, "is a word that nothing here can be", at)
    return Requirement(
        fields["name"],
        fields["about"],
        conditions[0] if "when" in fields else None,
        conditions[-1],
        frozenset(fields["sinks"]) if "sinks" in fields else None,
    )


def _declassifier(
    source: Source, fields: Mapping[str, Any], vocabulary: Vocabulary, today: date | None
) -> Declassifier:
    source.table(fields, _DECLASSIFIER, f"declassifier {fields['name']}")
    source.check(
        [fields["retention"]], vocabulary.retention_days, "is not a retention class of the vocabulary"
    )
    if today is not None and fields["review_by"] < today:
        raise source.wrong(
            fields["review_by"].isoformat(),
            f"lies in the past: the declassifier {fields['name']} is to be reviewed by its "
            f"owner {fields['owner']}, who then sets the next date",
        )
    return Declassifier(**fields)


def _labels(
    files: Sequence[Source], vocabulary: Vocabulary
) -> tuple[dict[tuple[str, str], bytes], dict[str, bytes]]:
    """Labels of (captured kind, zone), and what each derived kind adds to the join of its parents."""
    classes = list(vocabulary.retention_days)
    every = {name: vocabulary.mask(name, getattr(vocabulary, name)) for name in ("purposes", "regions")}
    zones = [
        (
            fields["name"],
            classes.index(fields["retention"]),
            {name: vocabulary.mask(name, fields.get(name, ())) for name in LISTS},
        )
        for _, fields in _all(files, "zones")
    ]
    labels, derived = {}, {}
    for source in files:
        for kind, content in source.fields.get("kinds", {}).items():
            source.check([kind], KINDS, "is not a kind of event")
            source.table(content, {"categories": list, "nature": str}, f"kind {kind}")
            source.check(
                content["categories"], vocabulary.categories, "is not in the vocabulary's categories"
            )
            source.check([content["nature"]], lattice.NATURES, "is not a nature of data")
            nature = lattice.NATURES.index(content["nature"])
            own = vocabulary.mask("categories", content["categories"])
            if KINDS[kind].captured:
                for zone, retention, masks in zones:
                    whole = {**masks, "categories": masks["categories"] | own}
                    labels[kind, zone] = lattice.pack(**whole, retention=retention, nature=nature)
            else:
                derived[kind] = lattice.pack(
                    categories=own,
                    obligations=0,
                    subjects=0,
                    **every,
                    retention=len(classes) - 1,
                    nature=nature,
                )
    for kind in KINDS:
        if not KINDS[kind].captured and kind not in derived:
            raise InputError(
                f"{files[-1].origin}: kinds lacks the derived kind {kind}: "
                "what a stage makes must have a label"
            )
    return labels, derived
