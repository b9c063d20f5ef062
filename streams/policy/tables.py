"""Read the tables of a policy: zones, sinks, requirements, declassifiers, intents and kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from streams.errors import InputError
from streams.events.intents import INTENT, SEED_INTENTS
from streams.events.kinds import Kinds
from streams.events.shipped import SHIPPED
from streams.limits import (
    INTENTS_MAX,
)
from streams.policy import label as lattice
from streams.policy.attributes import known_words
from streams.policy.condition import Condition
from streams.policy.rules import (
    FLOW_FACTS,
    RISKS,
    RUN_BY,
    TRAINED_ON,
    WHEN_OVERDUE,
    Declassifier,
    OwnLabel,
    Requirement,
    Sink,
    Zone,
)
from streams.policy.source import Source
from streams.policy.vocabulary import LISTS, Vocabulary

MODES = ("enforcing", "logging")
EVERY = "*"
_ZONE = {
    "name": str,
    "rank": int,
    "when": str,
    "mode": str,
    **dict.fromkeys(LISTS, list),
    "retention": str,
    "reason": str,
    "owner": str,
    "without_consent": bool,
    "restricted": bool,
}
_SINK = {
    "name": str,
    "about": str,
    "purpose": str,
    "region": str,
    "receives": list,
    "but_not": list,
    "subjects": list,
    "honours": list,
    "risk": str,
    "run_by": str,
    "trained_on": str,
    "always_enforced": bool,
    "keys_for": list,
}
_REQUIREMENT = {
    "name": str,
    "about": str,
    "when": str,
    "require": str,
    "sinks": list,
    "owner": str,
    "proof": str,
}
_DECLASSIFIER = {
    "name": str,
    "owner": str,
    "reason": str,
    "evidence": str,
    "retention": str,
    "wearers_min": int,
    "review_by": date,
    "when_overdue": str,
}
_SINK_MAY_LACK = (
    "about",
    "but_not",
    "honours",
    "risk",
    "run_by",
    "trained_on",
    "always_enforced",
    "keys_for",
)
#: Lists of a sink, and the list of the vocabulary from which the words of each are.
_MASKED_BY = (
    ("receives", "categories"),
    ("but_not", "categories"),
    ("subjects", "subjects"),
    ("honours", "obligations"),
)


def condition_of(source: Source, text: str, names: Iterable[str]) -> Condition:
    """A condition that may use the facts `names`; InputError if it is wrong."""
    try:
        condition = Condition(text)
    except ValueError as error:
        raise source.wrong(text, f"is not a CEL condition ({error})") from None
    source.check(condition.names, list(names), "is not something that this condition may look at")
    return condition


def zone_of(
    source: Source,
    fields: Mapping[str, Any],
    vocabulary: Vocabulary,
    domains: Mapping[str, Sequence[Any]],
) -> Zone:
    """The zone that a `[[zones]]` table declares; its condition may use the attributes in `domains`.

    InputError if it is wrong.
    """
    where, at = f"zone {fields['name']}", str(fields["name"])
    source.table(
        fields,
        _ZONE,
        where,
        optional=("categories", "obligations", "owner", "without_consent", "restricted"),
    )
    source.check([fields["mode"]], MODES, "is not a mode", at)
    source.check(
        [fields["retention"]], vocabulary.retention_days, "is not a retention class of the vocabulary", at
    )
    for name in LISTS:
        source.check(
            fields.get(name, ()), getattr(vocabulary, name), f"is not in the vocabulary's {name}", at
        )
    condition = condition_of(source, fields["when"], domains)
    if "stream" not in condition.names:
        source.check(
            condition.literals,
            known_words(condition.names, domains),
            "is a word that no attribute can have",
            at,
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
        fields.get("owner", ""),
    )


def sink_of(source: Source, fields: Mapping[str, Any], vocabulary: Vocabulary) -> Sink:
    """The sink that a `[[sinks]]` table declares; InputError if it is wrong."""
    where, at = f"sink {fields['name']}", str(fields["name"])
    source.table(fields, _SINK, where, optional=_SINK_MAY_LACK)
    source.check([fields["purpose"]], vocabulary.purposes, "is not a purpose of the vocabulary", at)
    source.check([fields["region"]], vocabulary.regions, "is not a region of the vocabulary", at)
    if "but_not" in fields and fields["receives"] != [EVERY]:
        raise source.wrong(
            "but_not",
            f'of {where} stands beside a list of categories, expected receives = ["{EVERY}"]',
            (),
            at,
        )
    masks = {}
    for name, known in _MASKED_BY:
        words = fields.get(name, [])
        source.check(
            (word for word in words if word != EVERY),
            getattr(vocabulary, known),
            f"is not in the vocabulary's {known}",
            at,
        )
        masks[name] = vocabulary.mask(known, getattr(vocabulary, known) if EVERY in words else words)
    answers = {
        name: fields.get(name, otherwise)
        for name, otherwise in (("risk", "low"), ("run_by", "company"), ("trained_on", "nothing"))
    }
    for name, allowed in (("risk", RISKS), ("run_by", RUN_BY), ("trained_on", TRAINED_ON)):
        source.check([answers[name]], allowed, f"is not a {name} that a sink can have", at)
    if not all(isinstance(principal, str) for principal in fields.get("keys_for", ())):
        raise source.wrong("keys_for", f"of {where} has what is no name, expected a list of names", (), at)
    return Sink(
        fields["name"],
        fields["purpose"],
        fields["region"],
        masks["receives"] & ~masks["but_not"],
        masks["subjects"],
        masks["honours"],
        fields.get("always_enforced", False),
        answers["risk"],
        answers["run_by"],
        answers["trained_on"],
        fields.get("about", ""),
        frozenset(fields.get("keys_for", ())),
    )


def requirement_of(
    source: Source, fields: Mapping[str, Any], vocabulary: Vocabulary, sinks: Mapping[str, Sink]
) -> Requirement:
    """The requirement that a `[[requirements]]` table declares; InputError if it is wrong."""
    where, at = f"requirement {fields['name']}", str(fields["name"])
    source.table(fields, _REQUIREMENT, where, optional=("when", "sinks", "owner", "proof"))
    source.check(fields.get("sinks", ()), sinks, "is not a sink that this policy declares", at)
    conditions = [
        condition_of(source, fields[name], FLOW_FACTS) for name in ("when", "require") if name in fields
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
        fields.get("owner", ""),
        fields.get("proof", ""),
    )


def declassifier_of(
    source: Source, fields: Mapping[str, Any], vocabulary: Vocabulary, today: date | None
) -> Declassifier:
    """The declassifier that a `[[declassifiers]]` table declares; InputError if it is wrong.

    With `today`, InputError also if its review is overdue and the policy says that this stops a start.
    """
    at = fields["name"]
    source.table(fields, _DECLASSIFIER, f"declassifier {at}", optional=("when_overdue",))
    source.check(
        [fields["retention"]], vocabulary.retention_days, "is not a retention class of the vocabulary", at
    )
    declassifier = Declassifier(**{"when_overdue": "warn", **fields})
    source.check([declassifier.when_overdue], WHEN_OVERDUE, "is not what an overdue review can do", at)
    if today is not None and declassifier.when_overdue == "stop" and declassifier.overdue(today):
        raise source.wrong(
            declassifier.review_by.isoformat(),
            f"lies in the past, and the declassifier {at} stops then: its owner {declassifier.owner} reviews"
            " it and sets the next date",
        )
    return declassifier


def intents_of(source: Source) -> tuple[str, ...]:
    """The closed list of intents, sorted by name; those of the seed if a policy lists none.

    InputError if an intent is no name or is listed twice, if there are too many, or if an intent of the seed
    is missing, because every model learns from the seed.
    """
    listed = source.fields.get("intents", SEED_INTENTS)
    for at, intent in enumerate(listed):
        if type(intent) is not str or INTENT.fullmatch(intent) is None:
            raise source.wrong(
                str(intent),
                "is no intent, expected lower-case letters, digits and underscores, at most 64",
                (),
                "intents",
            )
        if intent in listed[:at]:
            raise source.wrong(intent, "stands twice in intents")
    if len(listed) > INTENTS_MAX:
        raise source.wrong("intents", f"has {len(listed)} names, expected at most {INTENTS_MAX}")
    for intent in SEED_INTENTS:
        if intent not in listed:
            raise source.wrong(
                "intents", f"lacks {intent}, which the utterances of the first model mean: list it as well"
            )
    return tuple(sorted(listed))


def own_kinds_of(files: Iterable[Source], kinds: Kinds | None) -> frozenset[str]:
    """Kinds that the tables `[kinds]` name, that are not shipped, and that devices may capture.

    InputError if they name a kind that is not in `kinds`. `kinds` None permits any kind; those that are not
    shipped then count as captured, because this process does not know whether they are.
    """
    own: set[str] = set()
    for source in files:
        named = source.fields.get("kinds", {})
        if kinds is not None:
            source.check(named, kinds, "is not a kind of event, of ours or of a package that --extend names")
        own |= {kind for kind in named if kinds is None or kinds[kind].captured}
    return frozenset(own - SHIPPED.keys())


def labels_of(
    files: Sequence[Source],
    zone_tables: Iterable[Mapping[str, Any]],
    vocabulary: Vocabulary,
    kinds: Kinds | None,
) -> tuple[dict[tuple[str, str], bytes], dict[str, bytes], dict[str, OwnLabel]]:
    """Labels by (captured kind, zone); labels that derived kinds add to their parents' join; own labels.

    An own label is what the policy says of a kind without any zone. `kinds` None: a kind that is not shipped
    counts as captured and as derived, because this process does not know whether devices capture it.
    InputError if a table is wrong, or a derived kind that is shipped is missing.
    """
    classes = list(vocabulary.retention_days)
    every = {name: vocabulary.mask(name, getattr(vocabulary, name)) for name in ("purposes", "regions")}
    zones = [
        (
            fields["name"],
            classes.index(fields["retention"]),
            {name: vocabulary.mask(name, fields.get(name, ())) for name in LISTS},
        )
        for fields in zone_tables
    ]
    labels, derived, by_kind = {}, {}, {}
    for source in files:
        for kind, content in source.fields.get("kinds", {}).items():
            known = (SHIPPED if kinds is None else kinds).get(kind)
            source.table(content, {"categories": list, "nature": str}, f"kind {kind}")
            source.check(
                content["categories"], vocabulary.categories, "is not in the vocabulary's categories"
            )
            source.check([content["nature"]], lattice.NATURES, "is not a nature of data")
            nature = lattice.NATURES.index(content["nature"])
            own = vocabulary.mask("categories", content["categories"])
            by_kind[kind] = OwnLabel(tuple(content["categories"]), content["nature"])
            if known is None or known.captured:
                for zone, retention, masks in zones:
                    whole = {**masks, "categories": masks["categories"] | own}
                    labels[kind, zone] = lattice.pack(**whole, retention=retention, nature=nature)
            if known is None or not known.captured:
                derived[kind] = lattice.pack(
                    categories=own,
                    obligations=0,
                    subjects=0,
                    **every,
                    retention=len(classes) - 1,
                    nature=nature,
                )
    for kind in SHIPPED:
        if not SHIPPED[kind].captured and kind not in derived:
            raise InputError(
                f"{files[-1].origin}: kinds lacks the derived kind {kind}: "
                "what a stage makes must have a label"
            )
    return labels, derived, by_kind
