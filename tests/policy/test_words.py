"""Words: a label in the words of another policy never permits more, and a policy means what it says.

Attributes survive a round trip through text.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events.identity import STREAM_PATTERN
from streams.policy import label as lattice
from streams.policy.attributes import DOMAINS, Attributes
from streams.policy.load import load
from streams.policy.vocabulary import LISTS, Vocabulary, translate

WORDS = [f"local:W{number}" for number in range(6)]
HOUSEHOLD = load("household")
CLASSES = {f"c{days}": days for days in (1, 7, 30, 90, 365)}
LISTED = st.lists(st.sampled_from(WORDS), unique=True).map(tuple)


@st.composite
def vocabularies(draw: st.DrawFn) -> Vocabulary:
    names = sorted(
        draw(st.sets(st.sampled_from(sorted(CLASSES)), min_size=1)), key=lambda name: CLASSES[name]
    )
    return Vocabulary(
        **{name: draw(LISTED) for name in LISTS},
        retention_days={name: CLASSES[name] for name in names},
        local={},
    )


@given(vocabularies(), vocabularies(), st.data())
def test_a_label_in_other_words_never_permits_more(
    before: Vocabulary, after: Vocabulary, data: st.DataObject
) -> None:
    said: dict[str, set[str]] = {
        name: data.draw(st.sets(st.sampled_from(getattr(before, name) or WORDS))) for name in LISTS
    }
    said = {name: words & set(getattr(before, name)) for name, words in said.items()}
    position = data.draw(st.integers(0, len(before.retention_days) - 1))
    nature = data.draw(st.integers(0, 3))
    label = lattice.pack(
        **{name: before.mask(name, words) for name, words in said.items()}, retention=position, nature=nature
    )
    told = translate(label, before, after)
    burdens = ("categories", "subjects", "obligations")
    days = list(before.retention_days.values())[position]
    if any(not said[name] <= set(getattr(after, name)) for name in burdens) or days < min(
        after.retention_days.values()
    ):
        assert told == b"", "what cannot be said in the other words is said in none"
        return
    says = after.says(told)
    assert all(set(says[name]) == said[name] for name in burdens)
    assert all(set(says[name]) == said[name] & set(getattr(after, name)) for name in ("purposes", "regions"))
    assert after.retention_days[after.retention(told)] == max(
        one for one in after.retention_days.values() if one <= days
    )
    assert lattice.unpack(told)["nature"] == nature


@st.composite
def attributes(draw: st.DrawFn) -> Attributes:
    values: dict[str, Any] = {name: draw(st.sampled_from(list(domain))) for name, domain in DOMAINS.items()}
    return Attributes(
        **values | {"stream": draw(st.from_regex(STREAM_PATTERN, fullmatch=True)).partition("~")[0]}
    )


@given(attributes())
def test_attributes_come_back_as_they_were(one: Attributes) -> None:
    assert Attributes.parse(one.text()) == one


def meant(one: Attributes) -> str:
    """The household policy as its author would say it."""
    if one.kind in {"consent_change", "erasure_request"}:
        return "rights"
    if one.kind == "device_state":
        return "device"
    if not one.consent_given:
        return "unconfigured"
    seen = one.people_near != "nobody" or one.minor_near
    if one.kind in {"camera_frame", "capture"} and seen and not one.capture_light:
        return "unlit-camera"
    if one.place == "clinic":
        return "health"
    if one.minor_near:
        return "child-near"
    if one.people_near == "strangers":
        return "bystander-present"
    if one.kind in {"voice_query", "feedback", "review"}:
        return "voice-assistant"
    return {"home": "home-private", "street": "public", "cafe": "public", "work": "public"}.get(
        one.place, "unconfigured"
    )


@given(attributes())
def test_the_household_policy_reads_as_it_is_meant(one: Attributes) -> None:
    assert HOUSEHOLD.zone_of(one)[0] == meant(one)


@pytest.mark.parametrize("first", ["streams.policy.condition", "cel"])
def test_the_library_of_conditions_can_be_imported_as_a_package_too(first: str) -> None:
    """Sightline loads the library without its package, and it cannot be loaded twice in a process."""
    text = f"import {first}, cel; from streams.policy.condition import Condition; Condition('true')"
    text += "; assert cel.evaluate('1 + 1') == 2"
    subprocess.run([sys.executable, "-c", text], check=True)
