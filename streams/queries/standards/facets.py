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


class _Ours:
    """Names the schema of a facet of ours, where OpenLineage's own facets name theirs."""

    __slots__ = ()

    @classmethod
    def _get_schema(cls) -> str:
        return f"{_SCHEMA}{cls.__name__}"


@attr.define
class StreamDatasetFacet(_Ours, DatasetFacet):  # type: ignore[misc]
    """What events of the stream are, and whether a device captured them."""

    kind: str
    captured: bool


@attr.define
class ZonesDatasetFacet(_Ours, DatasetFacet):  # type: ignore[misc]
    """Zones of the events that came in the hour."""

    zones: Items


@attr.define
class PurposesDatasetFacet(_Ours, DatasetFacet):  # type: ignore[misc]
    """For which purposes their labels permit them to be used."""

    purposes: Items


@attr.define
class DecisionsDatasetFacet(_Ours, DatasetFacet):  # type: ignore[misc]
    """What policy decided in the hour about events of the stream."""

    decisions: Items


@attr.define
class EdgesInputDatasetFacet(_Ours, InputDatasetFacet):  # type: ignore[misc]
    """How many edges between single events the store has from an input to the output of its event."""

    edges: Items


@attr.define
class TrainingRunFacet(_Ours, RunFacet):  # type: ignore[misc]
    """What a training run was given, and how good what it made is."""

    admitted: int
    refused: int
    seedExamples: int  # noqa: N815 - as OpenLineage writes names
    accuracy: float
    manifestDigest: str  # noqa: N815
