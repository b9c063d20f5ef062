"""OpenLineage: a job for each operator and the stream that it makes, with a run event an hour.

A run event claims that each of its outputs was made of each of its inputs. So each has one output, and as
inputs the streams of which the store has an edge to it in that hour, with their number; what was not made of
one another stands in different events. The hour is that in which the store published the edges.

A job of the pipeline never completes: it has one run, with one START and a RUNNING an hour, each of which
stands for its hour alone. A training run is one of its own, with START and COMPLETE. Streams that no job
made, which devices captured, have an event of their dataset an hour.

Every id is made of the store's and of names, so a second export tells of the same runs.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from openlineage.client.event_v2 import (
    DatasetEvent,
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
    StaticDataset,
)
from openlineage.client.facet_v2 import DatasetFacet, dataset_version_dataset, job_type_job
from openlineage.client.serde import Serde

from streams.events.headers import rfc3339
from streams.queries.standards import facets
from streams.queries.standards.facets import PRODUCER
from streams.queries.standards.graph import rows_of, store_id
from streams.queries.store import Store
from streams.topology import TRAINING_SOURCE

_HOUR_S = 3600
_WHEN = """coalesce(published_ns, (SELECT max(published_ns) FROM epochs))"""
_HOUR = f"{_WHEN} // {_HOUR_S * 10**9} AS hour"
_JOBS = f"""SELECT {_HOUR}, operator, child_source || '/' || child_stream AS child,
    parent_source || '/' || parent_stream AS parent, operator_version, directness, declassifier,
    min({_WHEN}) AS since_ns, max({_WHEN}) AS until_ns, sum(child_count * parent_width)::BIGINT AS edges
FROM edges LEFT JOIN epochs USING (epoch) WHERE child_source <> '{TRAINING_SOURCE}'
GROUP BY ALL ORDER BY ALL"""  # noqa: S608 - names of ours
_TRAINED = f"""SELECT coalesce(any_value(trained_ns), max({_WHEN})) AS trained_ns, number, operator,
    child_source || '/' || child_stream AS child, parent_source || '/' || parent_stream AS parent,
    operator_version, directness, declassifier, sum(parent_width)::BIGINT AS edges
FROM (SELECT *, child_first + child_step * unnest(range(child_count)) AS number FROM edges
        WHERE child_source = '{TRAINING_SOURCE}')
    LEFT JOIN epochs USING (epoch)
    LEFT JOIN (SELECT source AS child_source, stream AS child_stream, version AS number, trained_ns
            FROM models)
        USING (child_source, child_stream, number)
GROUP BY ALL ORDER BY ALL"""  # noqa: S608 - names of ours
_VERSIONS = (
    """SELECT source || '/' || stream AS child, version, zone, policy_version FROM models ORDER BY ALL"""
)
_RUNS = """SELECT version, admitted, refused, seed_examples, accuracy, manifest_digest FROM training_runs
ORDER BY ALL"""
_EVENTS = f"""SELECT {_HOUR}, source || '/' || stream AS name, max({_WHEN}) AS until_ns, zone,
    policy_version, sum("count")::BIGINT AS events
FROM events LEFT JOIN epochs USING (epoch) GROUP BY ALL ORDER BY ALL"""  # noqa: S608
_PURPOSES = f"""SELECT hour, name, purpose, sum(events)::BIGINT AS events FROM (
    SELECT {_HOUR}, source || '/' || stream AS name, unnest(purposes) AS purpose, "count" AS events
    FROM events LEFT JOIN epochs USING (epoch) JOIN labels USING (policy_version, label))
GROUP BY ALL ORDER BY ALL"""  # noqa: S608
_DECISIONS = f"""SELECT {_HOUR}, source || '/' || stream AS name, sink, purpose, zone, verdict, passed, rule,
    policy_version, sum("count")::BIGINT AS events
FROM decisions LEFT JOIN epochs USING (epoch) GROUP BY ALL ORDER BY ALL"""  # noqa: S608
_STREAMS = "SELECT source || '/' || stream AS name, kind, captured FROM streams"


_EACH_HOUR = job_type_job.EmissionPattern("PERIODIC", "COMPLETE_SNAPSHOT", _HOUR_S)


class _Input(NamedTuple):
    """A way from a stream to the one that was made of it, in one hour or by one training run."""

    parent: str
    operator_version: int
    directness: str
    declassifier: str
    edges: int


def openlineage(store: Store) -> tuple[Iterator[str], int]:
    """All lineage that the store's role is shown as events, and how many edges of single events they tell of.

    An event is a line of JSON; they come in the order of their time.
    """
    teller = _Teller(store)
    runs = [*teller.of_jobs(), *teller.of_training()]
    told = {
        (event.eventTime[:13], event.outputs[0].name) for event in runs if event.eventType is RunState.RUNNING
    }
    events = sorted((*runs, *teller.of_datasets(told)), key=lambda event: str(event.eventTime))
    return (f"{Serde.to_json(event)}\n" for event in events), teller.edges


class _Teller:
    """Makes the events; what each hour knows of each stream is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._namespace = f"sightline:{store_id(store)}"
        #: Between single events, in what was told so far.
        self.edges = 0
        self._kinds = {name: (kind, captured) for name, kind, captured in self._rows(_STREAMS)}
        self._latest_ns: dict[tuple[int, str], int] = {}
        self._zones: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
        for hour, name, until_ns, zone, version, events in self._rows(_EVENTS):
            self._zones[hour, name].append({"zone": zone, "policyVersion": version, "events": events})
            self._latest_ns[hour, name] = max(until_ns, self._latest_ns.get((hour, name), 0))
        self._purposes: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
        for hour, name, purpose, events in self._rows(_PURPOSES):
            self._purposes[hour, name].append({"purpose": purpose, "events": events})
        self._decisions: dict[tuple[int, str], list[dict[str, Any]]] = defaultdict(list)
        names = ("sink", "purpose", "zone", "verdict", "passed", "rule", "policyVersion", "events")
        for hour, name, *decided in self._rows(_DECISIONS):
            self._decisions[hour, name].append(dict(zip(names, decided, strict=True)))

    def of_jobs(self) -> Iterator[RunEvent]:
        """START of each job of the pipeline, and RUNNING for each hour in which it made something."""
        inputs: dict[tuple[int, str, str], list[_Input]] = defaultdict(list)
        since_ns: dict[tuple[str, str], int] = {}
        until_ns: dict[tuple[int, str, str], int] = {}
        for (
            hour,
            operator,
            child,
            parent,
            version,
            directness,
            declassifier,
            since,
            until,
            edges,
        ) in self._rows(_JOBS):
            key = hour, operator, child
            inputs[key].append(_Input(parent, version, directness, declassifier, edges))
            since_ns[operator, child] = min(since, since_ns.get((operator, child), since))
            until_ns[key] = max(until, until_ns.get(key, 0))
        for (operator, child), began_ns in since_ns.items():
            yield self._run_event(RunState.START, began_ns, operator, child)
        for (hour, operator, child), ways in inputs.items():
            output = OutputDataset(self._namespace, child, facets=self._facets(hour, child))
            yield self._run_event(
                RunState.RUNNING, until_ns[hour, operator, child], operator, child, self._inputs(ways), output
            )

    def of_training(self) -> Iterator[RunEvent]:
        """START and COMPLETE of each training run: the store knows one time of it."""
        runs = {version: _ours(facets.TrainingRunFacet, *told) for version, *told in self._rows(_RUNS)}
        zones = {
            (child, version): [{"zone": zone, "policyVersion": policy, "events": 1}]
            for child, version, zone, policy in self._rows(_VERSIONS)
        }
        inputs: dict[tuple[int, int, str, str], list[_Input]] = defaultdict(list)
        for trained_ns, version, operator, child, *way in self._rows(_TRAINED):
            inputs[trained_ns, version, operator, child].append(_Input(*way))
        for (trained_ns, version, operator, child), ways in inputs.items():
            of_version: dict[str, DatasetFacet] = {
                "version": _ours(dataset_version_dataset.DatasetVersionDatasetFacet, str(version))
            }
            if zoned := zones.get((child, version)):
                of_version["sightline_zones"] = _ours(facets.ZonesDatasetFacet, zoned)
            output = OutputDataset(self._namespace, child, facets=of_version)
            told = {"sightline_training": runs[version]} if version in runs else {}
            for state, some in ((RunState.START, []), (RunState.COMPLETE, self._inputs(ways))):
                yield self._run_event(
                    state, trained_ns, operator, child, some, output, version=version, run_facets=told
                )

    def of_datasets(self, told: set[tuple[str, str]]) -> Iterator[DatasetEvent]:
        """An event for each hour of each stream that no run event of that hour has as its output."""
        for (hour, name), until_ns in self._latest_ns.items():
            at = rfc3339(until_ns)
            if (at[:13], name) not in told:
                yield DatasetEvent(
                    eventTime=at,
                    producer=PRODUCER,
                    dataset=StaticDataset(self._namespace, name, facets=self._facets(hour, name)),
                )

    def _run_event(
        self,
        state: RunState,
        t_ns: int,
        operator: str,
        child: str,
        inputs: Sequence[InputDataset] = (),
        output: OutputDataset | None = None,
        *,
        version: int | None = None,
        run_facets: Mapping[str, Any] | None = None,
    ) -> RunEvent:
        """An event of the job `operator` that makes the stream `child`; of a training run, its version's."""
        name = f"{operator}.{child}"
        run = name if version is None else f"{name}/{version}"
        kind = (
            _ours(job_type_job.JobTypeJobFacet, "STREAMING", "SIGHTLINE", "OPERATOR", _EACH_HOUR)
            if version is None
            else _ours(job_type_job.JobTypeJobFacet, "BATCH", "SIGHTLINE", "TRAINING")
        )
        return RunEvent(
            eventType=state,
            eventTime=rfc3339(t_ns),
            producer=PRODUCER,
            run=Run(str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._namespace}/{run}")), dict(run_facets or {})),
            job=Job(self._namespace, name, {"jobType": kind}),
            inputs=list(inputs),
            outputs=[output or OutputDataset(self._namespace, child)],
        )

    def _inputs(self, ways: Sequence[_Input]) -> list[InputDataset]:
        """The streams that something was made of, each with the number of stored edges that say so."""
        edges: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for way in ways:
            self.edges += way.edges
            edges[way.parent].append(
                {
                    "operatorVersion": way.operator_version,
                    "directness": way.directness,
                    "declassifier": way.declassifier,
                    "edges": way.edges,
                }
            )
        return [
            InputDataset(
                self._namespace,
                parent,
                {"sightline_edges": _ours(facets.EdgesInputDatasetFacet, counted)},
            )
            for parent, counted in edges.items()
        ]

    def _facets(self, hour: int, name: str) -> dict[str, DatasetFacet]:
        """What an hour knows of a stream."""
        told: dict[str, DatasetFacet] = {}
        if name in self._kinds:
            told["sightline_stream"] = _ours(facets.StreamDatasetFacet, *self._kinds[name])
        for key, facet, items in (
            ("sightline_zones", facets.ZonesDatasetFacet, self._zones),
            ("sightline_purposes", facets.PurposesDatasetFacet, self._purposes),
            ("sightline_decisions", facets.DecisionsDatasetFacet, self._decisions),
        ):
            if listed := items.get((hour, name)):
                told[key] = _ours(facet, listed)
        return told

    def _rows(self, statement: str) -> Iterator[tuple[Any, ...]]:
        return rows_of(self._store.arrays(statement))


def _ours(facet: Any, *values: object) -> Any:
    """A facet that says that we wrote it, not the client."""
    return facet(*values, producer=PRODUCER)
