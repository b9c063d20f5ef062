"""The notice of a policy says what the policy permits; its version changes with its words alone."""

from __future__ import annotations

import hashlib
import random

import pytest

from streams.policy.attributes import DOMAINS, Attributes
from streams.policy.load import load, parse
from streams.policy.notice import notice_of
from streams.policy.plain import plain
from streams.policy.policy import Policy

SHIPPED = ("household", "clinic", "enterprise")
HOUSEHOLD = load("household")


def uses(policy: Policy) -> set[tuple[str, str, str]]:
    """What a policy lets be done with events that are drawn at random: data, use and place in plain words."""
    draw, drawn = random.Random(7), set[tuple[str, str, str]]()
    kinds = sorted({kind for kind, _ in policy.labels})
    for _ in range(1_500):
        facts = {name: draw.choice(sorted(domain, key=str)) for name, domain in DOMAINS.items()}
        kind = draw.choice(kinds)
        tag = policy.tag(Attributes(**{**facts, "kind": kind, "stream": kind.replace("_", "-")}))
        if not tag.label:
            continue
        says = policy.vocabulary.says(tag.label)
        for sink in policy.sinks.values():
            if sink.name != "training-run" and policy.flow(tag.zone, tag.label, sink.name).verdict == "allow":
                drawn |= {(category, sink.purpose, sink.region) for category in says["categories"]}
    return drawn


def told(policy: Policy) -> set[tuple[str, str, str]]:
    """What the notice says, read back from its sentences."""
    words = policy.vocabulary
    plainly = {
        (plain(category, words), plain(purpose, words), plain(region, words)): (category, purpose, region)
        for category in words.categories
        for purpose in words.purposes
        for region in words.regions
    }
    read = set()
    for line in notice_of(policy).lines:
        data, rest = line[:1].lower() + line[1:].partition(": used ")[0], line.partition(": used ")[2]
        for named, place in plainly.items():
            if rest.startswith(f"{named[1]}, {named[2]};") and f", {named[0]}, " in f", {data}, ":
                read.add(place)
    return read


@pytest.mark.parametrize("name", SHIPPED)
def test_whatever_is_permitted_is_told(name: str) -> None:
    policy = load(name)
    drawn = uses(policy)
    assert len(drawn) > 20, "it draws something"
    assert drawn <= told(policy)


@pytest.mark.parametrize("name", SHIPPED)
def test_nothing_is_told_to_teach_a_model_that_may_not(name: str) -> None:
    policy = load(name)
    taught = {category for category, purpose, _ in told(policy) if purpose == "ai:ModelTraining"}
    assert not taught & {"pd:Health", "pd:PhysicalHealth", "pd:Biometric", "local:BystanderPresence"}
    assert ("ai:ModelTraining" in {purpose for _, purpose, _ in told(policy)}) == (name == "household")


def test_the_version_is_that_of_the_words() -> None:
    notice = notice_of(HOUSEHOLD)
    text = "\n".join([notice.controller, *notice.lines])
    assert notice.version == hashlib.sha256(text.encode()).hexdigest()[:16]
    retold = parse(HOUSEHOLD.text.replace("One home", "A home", 1), "household")
    assert retold.version != HOUSEHOLD.version
    assert notice_of(retold).version == notice.version, "what is said of the policy is not told"
    shorter = parse(HOUSEHOLD.text.replace("half-year = 182", "half-year = 181"), "household")
    assert notice_of(shorter).version != notice.version
    assert notice_of(shorter).lines != notice.lines
    owned = parse(HOUSEHOLD.text.replace("about = ", 'owner = "dpo@household"\nabout = ', 1), "household")
    assert (notice_of(owned).controller, notice_of(owned).lines) == ("dpo@household", notice.lines)
    assert len({notice_of(load(name)).version for name in SHIPPED}) == len(SHIPPED)


def test_what_is_derived_alone_is_told_too() -> None:
    mood = "How you feel, from how you speak."
    text = HOUSEHOLD.text.replace('"pd:PrivacyPreference"]\n', '"pd:PrivacyPreference", "local:Mood"]\n', 1)
    text = text.replace("[vocabulary.local]\n", f'[vocabulary.local]\n"local:Mood" = "{mood}"\n', 1)
    inferred = parse(
        text.replace(
            'speech = { categories = ["local:AmbientSound"]', 'speech = { categories = ["local:Mood"]'
        ),
        "household",
    )
    assert not any(mood in line for line in notice_of(HOUSEHOLD).lines)
    assert any(mood in line and "to do what you ask" in line for line in notice_of(inferred).lines)


def test_what_a_model_may_not_serve_does_not_teach_it() -> None:
    home, served = 'name = "home-private"', 'served_purposes = ["dpv:RequestedServiceProvision"]'
    before, name, after = HOUSEHOLD.text.partition(home)
    text = before + name + after.replace('"dpv:ServiceOptimisation", ', "", 1)
    narrower = parse(text, "household")
    taught = ("pd:Household", "ai:ModelTraining", "household")
    assert taught in told(narrower)
    wider = served.replace("]", ', "dpv:ServiceOptimisation"]')
    assert taught not in told(parse(text.replace(served, wider), "household"))
