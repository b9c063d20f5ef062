"""An operator tried on numbers, without a policy, a worker or a Kafka: for the tests of operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streams.errors import InputError
from streams.events.batch import Batch, Context
from streams.events.codec import codec_of, encode
from streams.events.runs import Run
from streams.policy.step import Stretch, Tagged
from streams.processing.operators import Operators
from streams.processing.windows import Columns, roll

_AT_HOME = Context(
    place="home", people_near="nobody", minor_near=False, capture_light=True, worn=True, consent=1
)


def tried(
    operators: Operators, name: str, columns: Mapping[str, Sequence[Any]], *, dt_ns: int = 10_000_000
) -> list[Columns]:
    """Return the columns of all events that an operator makes of one batch of the kind that it reads.

    The batch is encoded, decoded, checked, sampled and divided into windows as a worker does it. Its stream
    has the name of `primary`, and its events have the numbers from 0. A window that is still open at the end
    makes no event; an operator with a memory begins without one.

    Parameters
    ----------
    operators
        Such as `extended_operators(["my_glasses"])`.
    name
        Name of the operator.
    columns
        The columns of the kind that it reads, with n values each; a worker takes what fits in 512 kB.
    dt_ns
        Time between two events, in ns.

    Raises
    ------
    InputError
        There is no operator of this name.
    MalformedError
        The columns are not those of the kind, or the operator returned something else than it has to; a
        worker would reject the batch. What the operator's own functions raise is passed on.
    """
    if name not in operators:
        raise InputError(f"operator {name}: found none of this name, expected one of {', '.join(operators)}")
    operator = operators[name]
    count = len(next(iter(columns.values()), ()))
    sent = Batch(
        kind=operator.reads,
        source="g1",
        wearer_id="w1",
        session_id="trial",
        stream=operator.primary,
        run=Run(0, 1, count),
        t0_ns=0,
        dt_ns=dt_ns,
        origin="trial",
        context=_AT_HOME,
        columns=columns,
    )
    batch = codec_of(operators.kinds).decode(encode(sent), position=0)
    stretch = Stretch(Tagged(batch, zone="", label=b"", rule=""), batches=[batch])
    (samples,) = operator.sampled([stretch])
    stream = (batch.source, batch.stream)
    sampled = [(stretch, samples)]
    closed, _ = roll(stream, None, sampled, operator.sample, operator.length, (), operator.breaks)
    made, _ = operator.values(closed, {}, operators.kinds[name])
    return [event for event in made if event is not None]
