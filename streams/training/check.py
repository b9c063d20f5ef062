"""Check whether training can have made a model version on `glasses.models`.

A record does not show who wrote it, so it is not trusted. The claims of a version are compared with the
policy that it names, so a forged version can claim no more than that policy permits.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams.errors import MalformedError
from streams.models.version import ModelVersion
from streams.policy import label as lattice
from streams.policy.policy import Policy
from streams.policy.rules import MODEL_TRAINING
from streams.policy.vocabulary import LISTS
from streams.training.run import seed_label


def can_serve(version: ModelVersion, policies: Mapping[str, Policy]) -> bool:
    """Whether a version can serve; False if its policy is not in `policies` (by version).

    MalformedError if training cannot have made the version under its policy: it has an intent that the policy
    does not list, an impossible zone, a label that the policy cannot express or that permits more than that
    of any model, or a serving time that does not follow from the label.
    """
    policy = policies.get(version.policy_version)
    if policy is None:
        return False
    if not set(version.model.intents) <= set(policy.intents):
        raise MalformedError("model version: found an intent that its policy does not list")
    zone = version.zone
    if zone not in policy.zones_by_name or policy.highest(frozenset((policy.seed_zone, zone))) != zone:
        raise MalformedError(
            "model version: its zone is none of its policy's, or one below that of the seed, expected the "
            "highest of what it was made of"
        )
    if not _in_words_of(policy, version.label):
        raise MalformedError("model version: its label has a word that its policy has not")
    if version.declassifier not in {"", MODEL_TRAINING} or lattice.loosens(
        _loosest(version, policy), version.label
    ):
        raise MalformedError(
            "model version: its label permits more than that of any model, expected what its policy derives"
        )
    if version.retrain_by_ns != policy.expires_ns(version.label, version.trained_ns):
        raise MalformedError("model version: may serve for another time than its label says")
    return True


def _in_words_of(policy: Policy, label: bytes) -> bool:
    value, words = lattice.unpack(label), policy.vocabulary
    return (
        all(not value[name] & ~words.mask(name, getattr(words, name)) for name in LISTS)
        and value["retention"] < len(words.retention_days)
        and value["nature"] < len(lattice.NATURES)
    )


def _loosest(version: ModelVersion, policy: Policy) -> bytes:
    """Label of a model of the seed alone, with the retention that the declassifier sets for these wearers."""
    label = policy.inherited_label("model", (seed_label(policy),))
    if not version.declassifier or not version.manifest.admitted:
        return label
    return policy.declassify(MODEL_TRAINING, label, len(version.manifest.wearers))
