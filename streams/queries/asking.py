"""The interface for programs that query a store: opened for a role, with a method for each question.

If a question shows data of restricted zones, this is recorded before its answer is returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from streams import limits
from streams.errors import InputError
from streams.queries import questions
from streams.queries.answers import Ancestors, Generations, Genuine, Loop, Why
from streams.queries.between import Between, between
from streams.queries.card import Card
from streams.queries.card import card as card_of
from streams.queries.changes import Changes
from streams.queries.changes import changes as changes_between
from streams.queries.completeness import Completeness
from streams.queries.completeness import completeness as completeness_of
from streams.queries.creep import Creep
from streams.queries.creep import creep as creep_in
from streams.queries.crossings import SPANS_NS, Crossings
from streams.queries.crossings import crossings as crossed
from streams.queries.current import CurrentEpoch
from streams.queries.current import current as current_of
from streams.queries.decided import Decided
from streams.queries.decided import decided as decided_about
from streams.queries.descendants import Descendants
from streams.queries.descendants import descendants as made_of
from streams.queries.due import Due
from streams.queries.due import due as due_in
from streams.queries.find import Find, Wanted
from streams.queries.find import find as found_in
from streams.queries.generations import generations as generations_of
from streams.queries.io_coverage import IoCoverage
from streams.queries.io_coverage import io_coverage as io_coverage_of
from streams.queries.leaving import Exports
from streams.queries.loop import loop as carried_by_loop
from streams.queries.missing import Missing
from streams.queries.missing import missing as missing_in
from streams.queries.moments import Moment, look_back, moments, moments_at
from streams.queries.parts import directories_of
from streams.queries.reach import Reach
from streams.queries.reach import reach as reach_of
from streams.queries.reads import Reads
from streams.queries.reads import reads as reads_of
from streams.queries.review import Queue, queue
from streams.queries.role import Role
from streams.queries.spread import Bounds, Window, time_ns
from streams.queries.store import Store
from streams.queries.superseded import Superseded
from streams.queries.superseded import superseded as superseded_in
from streams.queries.usage import Usage, UsageBy
from streams.queries.usage import usage as usage_of
from streams.queries.wearer import Wearer
from streams.queries.wearer import wearer as held_of
from streams.queries.withdraw import Withdrawal
from streams.queries.withdraw import withdrawal as withdrawal_of

if TYPE_CHECKING:
    from streams.queries.own import Own
    from streams.queries.table import Table

T = TypeVar("T")


class OpenStore(Exports):
    """One epoch of a store, for one thread at a time; use it in `with`. The writer does not affect it.

    Files of an epoch are deleted SUPERSEDED_GRACE_S seconds after a newer epoch replaced them, or
    ERASED_GRACE_S seconds after an erasure did. To see the next epoch, or after that time, open the store
    again.

    Every question raises InputError if its argument is malformed or the role may see nothing of it (hidden
    data and data that does not exist give the same error), UnavailableError if a read of restricted zones
    cannot be recorded or files of the epoch were deleted, and DamagedError if a file is not as the writer
    wrote it.
    """

    def __enter__(self) -> OpenStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the epoch; answers and tables remain valid."""
        self._store.close()

    @property
    def epoch(self) -> int:
        """Number of the open epoch; 0 if several stores are open (`epochs`)."""
        return self._store.epoch

    @property
    def epochs(self) -> dict[str, int]:
        """Number of the open epoch of each store, by its directory."""
        return dict(self._store.epochs)

    @property
    def role(self) -> str:
        """The role, such as `analyst` or `wearer:w1`; empty if the store is read unfiltered."""
        return "" if self._role is None else str(self._role)

    def moments(self) -> list[Moment]:
        """Epochs of the first store that `as_of` may name, oldest first, with their times of publication."""
        return moments(self._store)[0]

    def current(self) -> CurrentEpoch:
        """How the epoch stands: what came lately, by topic, and the newest version of a model."""
        return self._recorded("current", current_of, {})

    @property
    def hidden(self) -> dict[str, str]:
        """How much was hidden from the role in the answers so far, in bands (such as `10-99`) by kind."""
        return self._store.hidden

    @property
    def left_out(self) -> list[str]:
        """Sentences about data that no answer includes: its store is not open, or its policy is unknown."""
        return self._store.left_out

    def ancestors(self, identity: str, *, through_models: bool = False) -> Ancestors:
        """All that an event was made from, hop by hop.

        `through_models` continues to the examples that models learned from.
        """
        return self._asked(
            f"ancestors {identity}",
            lambda store: questions.ancestors(store, identity, through_models=through_models),
            {"--through-models": through_models, "--all": through_models},
        )

    def generations(self, identity: str) -> Generations:
        """The generations of the loop that an event was made from, one row each."""
        return self._asked(
            f"ancestors {identity}", lambda store: generations_of(store, identity), {"--through-models": True}
        )

    def why(self, identity: str) -> Why:
        """Why an event is where it is, or why it was refused."""
        return self._asked(f"why {identity}", lambda store: questions.why(store, identity))

    def genuine(self, identity: str, digest: str) -> Genuine:
        """Whether an agent wrote a record with this `ce_id` and this digest: XXH3-128, hexadecimal."""
        return self._asked(
            f"genuine {identity} {digest}", lambda store: questions.genuine(store, identity, digest)
        )

    def loop(self, identity: str) -> Loop:
        """What an event led to: feedback, examples, models, and the answers of these models."""
        return self._asked(f"loop {identity}", lambda store: carried_by_loop(store, identity))

    def missing(self) -> Missing:
        """Which numbers of captured streams are missing, and which data was rejected as a collision."""
        return self._asked("missing", missing_in)

    def card(self, identity: str) -> Card:
        """What a model version is, what it was made of, how it was judged, and what may be done with it."""
        return self._asked(f"card {identity}", lambda store: card_of(store, identity))

    def superseded(self) -> Superseded:
        """Derived events that were replaced since samples came late, and the answers that relied on them."""
        return self._asked("superseded", superseded_in)

    def creep(self) -> Creep:
        """How labels change round the loop, by generation and hop."""
        return self._asked("creep", creep_in)

    def due(self) -> Due:
        """What may not be used any more after which day."""
        return self._asked("due", due_in)

    def usage(self, by: UsageBy = "version") -> Usage:
        """How many answers were given, and what people said of them, by version, zone, wearer or day."""
        return self._asked(f"usage {by}", lambda store: usage_of(store, by))

    def review_queue(self) -> Queue:
        """Answers that a person should look at, and why; `sightline review` decides whether one may."""
        return self._asked("review", queue)

    def wearer(self, name: str) -> Wearer:
        """What the store holds about a wearer: streams, zones, sinks, answers, models, refusals."""
        return self._asked(f"wearer {name}", lambda store: held_of(store, name))

    def own(self, name: str) -> Own:
        """All that an erasure of a wearer would take: for the wearer alone, and for the privacy officer."""
        # It computes with Arrow, which nobody else has to wait for.
        from streams.queries.own import own  # noqa: PLC0415

        return self._asked(f"own {name}", lambda store: own(store, name))

    def decisions(self, identity: str) -> Decided:
        """Decisions about an event at each sink, with the rule and policy in force at that time."""
        return self._asked(f"decisions {identity}", lambda store: decided_about(store, identity))

    def descendants(
        self,
        identity: str,
        *,
        depth: int = limits.WALK_HOPS_MAX,
        until: str = "",
        through_models: bool = False,
    ) -> Descendants:
        """All that was made from an event, up to `depth` hops and captured up to `until` (RFC 3339).

        `through_models` continues through models, with one row per generation.
        """
        bounds = Bounds(depth, time_ns(until, "until") if until else 0)
        return self._asked(
            f"descendants {identity}",
            lambda store: made_of(store, identity, bounds, through_models=through_models),
            {"--depth": depth, "--until": until, "--through-models": through_models},
        )

    def reached(self, identity: str, to: str) -> Between:
        """Whether an event reached another one, and by which path."""
        return self._asked(f"reached {identity} {to}", lambda store: between(store, identity, to))

    def reach(self, about: str) -> Reach:
        """How far the data of a wearer, or a model version, reached; the second order is separate.

        `may_differ` counts what no lineage leads to and may be otherwise without the wearer.
        """
        return self._asked(f"reach {about}", lambda store: reach_of(store, about))

    def withdrawal(self, name: str, *, purpose: str = "") -> Withdrawal:
        """What would stop if a wearer withdrew consent, for all purposes or for one; changes nothing."""
        return self._asked(
            f"withdraw {name}",
            lambda store: withdrawal_of(store, name, purpose),
            {"--what-if": True, "--purpose": purpose},
        )

    def find(
        self,
        *,
        wearer: str = "",
        zone: str = "",
        kind: str = "",
        subject: str = "",
        since: str = "",
        until: str = "",
    ) -> Find:
        """Ids of events by wearer, zone, kind, subject and capture time (RFC 3339); empty means any."""
        wanted = Wanted(wearer, zone, kind, subject, Window.of(since, until))
        options = {
            "--wearer": wearer,
            "--zone": zone,
            "--kind": kind,
            "--subject": subject,
            "--since": since,
            "--until": until,
        }
        return self._asked("find", lambda store: found_in(store, wanted), options)

    def crossings(
        self,
        *,
        zone: str = "",
        sink: str = "",
        every: str = "hour",
        since: str = "",
        until: str = "",
        refused: bool = False,
    ) -> Crossings:
        """What went from which zone into which sink, by `minute`, `hour` or `day`, or in total (`always`).

        Times are those of the decisions; `refused`: only what was stopped.
        """
        if every not in SPANS_NS:
            raise InputError(f"crossings: found every={every!r}, expected one of {', '.join(SPANS_NS)}")
        window = Window.of(since, until)
        return self._asked(
            "crossings",
            lambda store: crossed(
                store, zone=zone, sink=sink, window=window, every_ns=SPANS_NS[every], refused=refused
            ),
            {
                "--zone": zone,
                "--sink": sink,
                "--every": every,
                "--since": since,
                "--until": until,
                "--refused": refused,
            },
        )

    def changes(self, after: str, upto: str) -> Changes:
        """What was added between two moments: times in RFC 3339, or numbers of kept epochs."""
        return self._asked(
            f"changes {after} {upto}",
            lambda store: changes_between(
                store, moments_at(store, after, "after"), moments_at(store, upto, "upto")
            ),
        )

    def completeness(self) -> Completeness:
        """Which share of outputs has every parent in the store."""
        return self._asked("completeness", completeness_of)

    def io_coverage(self) -> IoCoverage:
        """Of which share of the operations on data of events lineage is recorded."""
        return self._asked("io-coverage", io_coverage_of)

    def reads(self, *, zone: str = "", user: str = "", since: str = "") -> Reads:
        """Who read what of which restricted zone."""
        since_ns = time_ns(since, "since") if since else 0
        return self._asked(
            "reads",
            lambda store: reads_of(store, zone=zone, user=user, since_ns=since_ns),
            {"--zone": zone, "--user": user, "--since": since},
        )

    def sql(self, text: str) -> Table:
        """Run one SELECT over the store's views and return all of its rows.

        Under a role it runs on a database that only has the rows that the role may see.

        Raises
        ------
        InputError
            It is not exactly one statement that only reads, it names something that the role may not see, it
            returns more than TABLE_MB megabytes, or DuckDB refused it. The message has no stored values.
        """
        return self._store.table(text)

    def _asked(
        self, question: str, answer: Callable[[Store], T], options: Mapping[str, object] | None = None
    ) -> T:
        return self._recorded(f"ask {question}", answer, options or {})


def open_store(
    path: Path | str | Sequence[Path | str], *, role: Role | str = "", as_of: str = ""
) -> OpenStore:
    """Open the newest epoch of the store in a directory, or an earlier one, for a role.

    Parameters
    ----------
    path
        Directory of the store, such as `lineage-store`, or those of several stores that hold some partitions
        each (`sightline snapshots --partitions`) and are read as one.
    role
        `analyst`, `privacy-officer` or `wearer:ID`; required, because the policies decide by role what to
        show. The file `roles.toml` of the store says which users may take which roles.
    as_of
        A time in RFC 3339 or the number of a kept epoch; questions are then answered as of that moment, under
        today's roles. Empty: the newest epoch. For several stores only a time.

    Raises
    ------
    InputError
        The role is missing, unknown, or not granted to the current user; the store has another version; or
        two stores hold the same partition.
    UnavailableError
        There is no store, or no epoch yet.
    DamagedError
        The catalog is missing, lies elsewhere, or is not as the writer wrote it.
    """
    if not role:
        raise InputError(
            f"open_store({str(path)!r}): found no role, expected one of role='analyst', "
            "role='privacy-officer' or role='wearer:ID' (such as 'wearer:w1'); the policies say what each is "
            "shown. A program that judges the store itself calls unfiltered(path)"
        )
    asking = Role.of(role) if isinstance(role, str) else role
    store = Store.open(directories_of(path), asking)
    try:
        look_back(store, as_of, "as_of")
    except BaseException:
        store.close()
        raise
    return OpenStore(store, asking, as_of)


def unfiltered(path: Path | str | Sequence[Path | str]) -> OpenStore:
    """Open the newest epoch of a store without a role: everything is visible, and no read is recorded.

    For programs that check the store (such as a ledger or a replay). Answers to people must be given under a
    role instead. `path` and errors as in `open_store`.
    """
    return OpenStore(Store.open(directories_of(path)), None)
