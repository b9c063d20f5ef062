"""For how many days the store keeps a class: against the policy's own text."""

from __future__ import annotations

import pytest

from streams.policy.load import load

POLICY = load("household")


@pytest.mark.parametrize(
    ("zone", "days"),
    [("bystander-present", 1), ("home-private", 30), ("public", 182), ("malformed", 1), ("", 1)],
)
def test_what_has_no_label_is_kept_as_its_zone_says_and_else_as_short_as_possible(
    zone: str, days: int
) -> None:
    assert POLICY.kept_days(zone, "") == days


@pytest.mark.parametrize("zone", ["bystander-present", "home-private", "public"])
def test_a_label_counts_whatever_the_zone(zone: str) -> None:
    label = POLICY.label_of("imu", zone) or b""
    assert POLICY.kept_days("public", label.hex()) == POLICY.kept_days(zone, "")


@pytest.mark.parametrize("label", ["zz", "00", "f" * 32, "0" * 28 + "ff00"])
def test_what_is_no_label_of_the_policy_is_never_over(label: str) -> None:
    assert POLICY.kept_days("public", label) is None
