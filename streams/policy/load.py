"""Read policies; every error names the file, the line, the word and the nearest correct word."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from streams.events.kinds import Kinds
from streams.events.shipped import SHIPPED
from streams.limits import (
    POLICY_EXAMPLES_MAX,
    POLICY_REQUIREMENTS_MAX,
    POLICY_SINKS_MAX,
    POLICY_STEPS_MAX,
    POLICY_ZONES_MAX,
)
from streams.policy import label as lattice
from streams.policy.analysis import check_requirements, check_zones
from streams.policy.attributes import domains_of
from streams.policy.examples import examples_of
from streams.policy.policy import Policy
from streams.policy.single import anonymised_of, assets_of, clock_of, owner_of, second_order_of, training_of
from streams.policy.source import Source, bundle, find, sources
from streams.policy.speech import check_speech, speech_of
from streams.policy.tables import (
    declassifier_of,
    intents_of,
    labels_of,
    own_kinds_of,
    requirement_of,
    sink_of,
    zone_of,
)
from streams.policy.texts import check_texts
from streams.policy.vocabulary import CURIES, LISTS, PREFIXES, Vocabulary
from streams.topology import CROSSINGS

_LISTED, _MERGED = (
    ("zones", "sinks", "requirements", "declassifiers", "withheld", "tests"),
    ("vocabulary", "kinds"),
)
_OWN = {"name": str, "about": str, "owner": str, "served_purposes": list, "seed_zone": str, "intents": list}
_TOP = {
    **_OWN,
    "imports": list,
    "clock": dict,
    "training": dict,
    "training_assets": dict,
    "assistant": dict,
    "anonymised": dict,
    "erasure": dict,
    **dict.fromkeys(_MERGED, dict),
    **dict.fromkeys(_LISTED, list),
}
#: Maximum number of tables by list; other lists are bounded only by the size of the text.
_MANY = {
    "zones": POLICY_ZONES_MAX,
    "sinks": POLICY_SINKS_MAX,
    "requirements": POLICY_REQUIREMENTS_MAX,
    "withheld": POLICY_REQUIREMENTS_MAX,
    "tests": POLICY_EXAMPLES_MAX,
}
_VOCABULARY = {**dict.fromkeys(LISTS, list), "retention_days": dict, "local": dict}


def load(name: str, today: date | None = None, kinds: Kinds = SHIPPED) -> Policy:
    """Load a policy about `kinds` by path or shipped name; InputError if it is wrong.

    Names with other than plain letters, and texts with unprintable characters, are errors only in a file: a
    policy that is in force or in a store was published before, and is read unchanged. With `today`, an
    overdue review of a declassifier is an error if the policy says "stop"; one that only warns is reported by
    the caller, who starts or shows the policy.
    """
    path = find(name)
    text = bundle(path)
    for source in sources(text, str(path)):
        check_texts(source)
    return parse(text, str(path), today, kinds=kinds)


def parse(
    text: str,
    origin: str,
    today: date | None = None,
    *,
    tried: bool = False,
    kinds: Kinds | None = None,
) -> Policy:
    """Build a policy from its text; InputError if it is wrong. `origin` is its name in errors.

    The policy may only name kinds of `kinds`. None permits any kind, for a text that was published before,
    perhaps by a process that knows more kinds.

    The cost is bounded before parsing, by the text (`streams.policy.bounds`) and by the number of its tables.
    `tried`: the conditions were checked before, in another process, and are not checked again.
    """
    files = sources(text, origin)
    for source in files:
        source.check(source.fields, _TOP, "is not a field of the policy")
        source.table(source.fields, _with_owner(source, _TOP), "the policy", optional=_TOP)
    main = files[-1]
    main.table(
        {name: main.fields[name] for name in _OWN if name in main.fields},
        _with_owner(main, _OWN),
        "the policy",
        optional=("about", "owner", "intents"),
    )
    vocabulary = _vocabulary(files)
    domains = domains_of(own_kinds_of(files, kinds))
    zones = sorted(
        (zone_of(source, fields, vocabulary, domains) for source, fields in _all(files, "zones")),
        key=lambda zone: -zone.rank,
    )
    if not tried:
        check_zones(zones, _sources_of(files, "zones"), domains)
    labels, derived, own = labels_of(files, (fields for _, fields in _all(files, "zones")), vocabulary, kinds)
    sinks = {fields["name"]: sink_of(source, fields, vocabulary) for source, fields in _all(files, "sinks")}
    for crossing in CROSSINGS:
        if crossing not in sinks:
            raise main.wrong(
                crossing,
                "is a place that data crosses into and that no sink declares, "
                "expected [[sinks]] of that name",
            )
    requirements = tuple(
        requirement_of(source, fields, vocabulary, sinks) for source, fields in _all(files, "requirements")
    )
    declassifiers = {
        fields["name"]: declassifier_of(source, fields, vocabulary, today)
        for source, fields in _all(files, "declassifiers")
    }
    main.check(main.fields["served_purposes"], vocabulary.purposes, "is not a purpose of the vocabulary")
    main.check([main.fields["seed_zone"]], [zone.name for zone in zones], "is not a zone")
    examples = examples_of(_all(files, "tests"), [zone.name for zone in zones], sinks, domains)
    policy = Policy(
        main.fields["name"],
        version_of(text),
        text,
        vocabulary,
        tuple(zones),
        sinks,
        requirements,
        declassifiers,
        labels,
        derived,
        own,
        vocabulary.mask("purposes", main.fields["served_purposes"]),
        main.fields["seed_zone"],
        examples,
        *clock_of(files),
        intents_of(main),
        owner_of(main),
        training_of(files),
        assets_of(files),
        speech_of(files, _all(files, "withheld")),
        anonymised_of(files),
        second_order_of(files),
    )
    _check_steps(policy, main)
    if not tried:
        check_requirements(policy, _sources_of(files, "requirements"))
        check_speech(policy, _sources_of(files, "withheld"), domains)
    return policy


def _with_owner(source: Source, known: Mapping[str, type]) -> Mapping[str, type]:
    """Fields of a file with their types: `owner` is a name, or a table."""
    return {**known, "owner": dict} if isinstance(source.fields.get("owner"), dict) else known


def version_of(text: str) -> str:
    """Version of a policy: the first 64 bits of the SHA-256 of its text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _check_steps(policy: Policy, main: Source) -> None:
    """InputError if all conditions together take more than POLICY_STEPS_MAX steps for one event."""
    conditions = [zone.condition for zone in policy.zones] + [rule.when for rule in policy.speech.withheld]
    for requirement in policy.requirements:
        conditions += (
            [requirement.require] if requirement.when is None else [requirement.when, requirement.require]
        )
    steps = sum(condition.steps for condition in conditions)
    if steps > POLICY_STEPS_MAX:
        raise main.wrong(
            policy.name,
            f"has conditions that take {steps} steps together for one event, expected at most"
            f" {POLICY_STEPS_MAX}; have fewer of them, or fewer loops in them",
        )


def _all(files: Iterable[Source], name: str) -> list[tuple[Source, Mapping[str, Any]]]:
    """The tables of a list in all files; InputError if one is no table, has no name, or repeats a name."""
    tables: list[tuple[Source, Mapping[str, Any]]] = []
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
            tables.append((source, fields))
            if len(tables) > _MANY.get(name, len(tables)):
                raise source.wrong(name, f"holds more than {_MANY[name]}, expected fewer; take some out")
    return tables


def _sources_of(files: Iterable[Source], name: str) -> dict[str, Source]:
    """The file of each table of a list, by the table's name."""
    return {fields["name"]: source for source, fields in _all(files, name)}


def _vocabulary(files: Sequence[Source]) -> Vocabulary:
    words: dict[str, list[str]] = {name: [] for name in LISTS}
    days: dict[str, int] = {}
    local: dict[str, str] = {}
    declaring = [source for source in files if "vocabulary" in source.fields]
    if not declaring:
        raise files[-1].wrong(
            "vocabulary", "is missing, expected the closed lists of words, here or in a file that is imported"
        )
    for source in declaring:
        fields = source.fields["vocabulary"]
        source.table(fields, _VOCABULARY, "the vocabulary", optional=_VOCABULARY)
        local |= fields.get("local", {})
        days |= fields.get("retention_days", {})
        for name in LISTS:
            for word in fields.get(name, ()):
                _check_word(source, name, str(word), words[name], local)
                words[name].append(str(word))
    source = declaring[-1]
    for name in LISTS:
        if not 0 < len(words[name]) <= lattice.CAPACITY[name]:
            raise source.wrong(name, f"has {len(words[name])} words, expected 1 to {lattice.CAPACITY[name]}")
    if (
        not days
        or any(type(count) is not int or count < 1 for count in days.values())
        or list(days.values()) != sorted(days.values())
    ):
        raise source.wrong("retention_days", "is not ordered, expected whole days, the shortest class first")
    return Vocabulary(**{name: tuple(words[name]) for name in LISTS}, retention_days=days, local=local)


def _check_word(source: Source, name: str, word: str, known: Sequence[str], local: Mapping[str, str]) -> None:
    if name in CURIES and (":" not in word or word.partition(":")[0] not in PREFIXES):
        raise source.wrong(word, "is no CURIE of DPV or of this policy", [f"{each}:" for each in PREFIXES])
    if word in known:
        raise source.wrong(word, f"stands twice in {name}")
    if word.startswith("local:") and word not in local:
        raise source.wrong(
            word, "is a local word that vocabulary.local does not explain: say there why DPV has none for it"
        )
