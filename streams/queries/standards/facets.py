"""What OpenLineage has no facet for, as custom ones with our prefix; `facets.json` is their schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attr
from openlineage.client.facet_v2 import DatasetFacet, InputDatasetFacet, RunFacet

#: Who writes: OpenLineage wants a URI of every event and facet.
PRODUCER = "urn:sightline:export"
_SCHEMA = "urn:sightline:facets:1#/$defs/"
Items = Sequence[dict[str, Any]]


@attr.define
class StreamDatasetFacet(DatasetFacet):  # type: ignore[misc]
    """What events of the stream are, and whether a device captured them."""

    kind: str
    captured: bool

    @staticmethod
    def _get_schema() -> str:
        return f"{_SCHEMA}StreamDatasetFacet"


@attr.define
class ZonesDatasetFacet(DatasetFacet):  # type: ignore[misc]
    """Zones of the events that came in the hour."""

    zones: Items

    @staticmethod
    def _get_schema() -> str:
        return f"{_SCHEMA}ZonesDatasetFacet"


@attr.define
class PurposesDatasetFacet(DatasetFacet):  # type: ignore[misc]
    """For which purposes their labels permit them to be used."""

    purposes: Items

    @staticmethod
    def _get_schema() -> str:
        return f"{_SCHEMA}PurposesDatasetFacet"


@attr.define
class DecisionsDatasetFacet(DatasetFacet):  # type: ignore[misc]
    """What policy decided in the hour about events of the stream."""

    decisions: Items

    @staticmethod
    def _get_schema() -> str:
        return f"{_SCHEMA}DecisionsDatasetFacet"


@attr.define
class EdgesInputDatasetFacet(InputDatasetFacet):  # type: ignore[misc]
    """How many edges between single events the store has from an input to the output of its event."""

    edges: Items

    @staticmethod
    def _get_schema() -> str:
        return f"{_SCHEMA}EdgesInputDatasetFacet"


@attr.define
class TrainingRunFacet(RunFacet):  # type: ignore[misc]
    """What a training run was given, and how good what it made is."""

    admitted: int
    refused: int
    seedExamples: int  # noqa: N815 - as OpenLineage writes names
    accuracy: float
    manifestDigest: str  # noqa: N815

    @staticmethod
    def _get_schema() -> str:
        return f"{_SCHEMA}TrainingRunFacet"
