"""`sightline rights erase` waits for a store without opening it again and again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from streams.cli.rights.erase import Waiting
from streams.queries.newest import newest_catalog

ERASE = sys.modules[Waiting.__module__]


def test_a_store_is_opened_once_for_each_epoch_while_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, opened, looks = tmp_path / "catalog.duckdb", list[str](), list[Path]()

    def publish(name: str) -> None:
        (tmp_path / name).touch()
        (beside := tmp_path / "beside").symlink_to(name)
        beside.replace(link)

    def look(store: Path) -> Path:
        looks.append(store)
        return newest_catalog(store)

    def rows(store: Path, number: int) -> int | None:
        assert (store, number) == (tmp_path, 3)
        opened.append(link.resolve().name)
        return 12 if len(opened) == 2 else None

    async def publishes() -> None:
        while len(opened) < 2 and len(looks) < 3:
            await asyncio.sleep(0)
        publish("second")

    async def waits() -> int:
        count, _ = await asyncio.gather(Waiting((tmp_path,))(3), publishes())
        return count

    publish("first")
    for name, patched in {"ERASURE_LOOKS_S": 0, "erased_rows": rows, "newest_catalog": look}.items():
        monkeypatch.setattr(ERASE, name, patched)
    assert asyncio.run(waits()) == 12
    assert opened == ["first", "second"]
