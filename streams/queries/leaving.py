"""The exports of the interface for programs: what the policies let a role take out, as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from streams.moving import nothing
from streams.queries.audit import asked_as
from streams.queries.holding import PolicyQuestions
from streams.queries.store import Store

if TYPE_CHECKING:
    from streams.queries.anonymised import AnonymisedExport
    from streams.queries.standards.writing import Exported, Standard

T = TypeVar("T")


class Exports(PolicyQuestions):
    """An open store, with what may leave it."""

    def export(self, standard: Standard, file: Path | str) -> Exported:
        """Write lineage into a new file, as `openlineage`, `prov` (PROV-JSON) or `graphml`.

        It holds what the policies let the role take out, of the newest epoch or the one that `as_of` named.

        InputError also where something stands under the name; UnavailableError also where OpenLineage's
        package is not installed (`pip install 'sightline[export]'`).
        """
        # Few export.
        from streams.queries.standards.writing import write_standard  # noqa: PLC0415

        return self._leaves(
            f"export {standard} {file}",
            lambda leaving, question: write_standard(leaving, standard, Path(file), question, nothing),
        )

    def export_anonymised(self, file: Path | str) -> AnonymisedExport:
        """Write what wearers told their glasses, where and when, under tokens, with a receipt beside it.

        A name that ends in `.parquet` or `.csv` says the form.

        InputError also where the policy permits none, or what the role may take out is below its bounds.
        """
        from streams.queries.anonymised import write_anonymised  # noqa: PLC0415

        return self._leaves(
            f"export anonymised {file}",
            lambda leaving, question: write_anonymised(leaving, Path(file), question, nothing),
        )

    def _leaves(self, question: str, write: Callable[[Store, str], T]) -> T:
        role = None if self._role is None else replace(self._role, exporting=True)
        with Store.open([part.directory for part in self._store.parts], role) as leaving:
            if self._store.is_past:
                leaving.look_back(*self._store.epochs.values())
            return write(leaving, asked_as(question, {"--as-of": self._as_of}))
