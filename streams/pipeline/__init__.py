"""Stages 1-5 composed, without Kafka, clock or randomness: one pure call a fetch (law 7).

Agent `glasses` runs stages 1-4, agent `training` stage 5. What enters by wall-clock chance and changes
results (which model serves, which policy is in force, what wearers say on other partitions, in which order
the examples of all partitions reach training) is taken up between fetches, kept in the state where it lasts,
and recorded as an input.
"""

from streams.consent.record import consents_of, learn_consent, pairing_record, withdrawal_record
from streams.lineage.tables import (
    CONSENT_TAKEUP,
    EXAMPLE_ORDER,
    MODEL_TAKEUP,
    NO_EXAMPLE,
    POLICY_TAKEUP,
)
from streams.pipeline.beginning import first_records
from streams.pipeline.devices import Devices
from streams.pipeline.glasses import GlassesCore, PartitionState
from streams.pipeline.shelf import FileShelf, ShelvingCore
from streams.pipeline.tables import Tables
from streams.pipeline.training import TrainingCore, TrainingState

__all__ = [
    "CONSENT_TAKEUP",
    "EXAMPLE_ORDER",
    "MODEL_TAKEUP",
    "NO_EXAMPLE",
    "POLICY_TAKEUP",
    "Devices",
    "FileShelf",
    "GlassesCore",
    "PartitionState",
    "ShelvingCore",
    "Tables",
    "TrainingCore",
    "TrainingState",
    "consents_of",
    "first_records",
    "learn_consent",
    "pairing_record",
    "withdrawal_record",
]
