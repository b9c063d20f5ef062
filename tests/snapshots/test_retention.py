"""How long replaced files stay for readers, and that an erasure does not wait as long."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from streams import clock, limits
from streams.snapshots.files.directory import catalog_name
from streams.snapshots.files.retention import Retention


def files(directory: Path, epochs: Iterable[int]) -> dict[str, int]:
    """A catalog of each epoch, and a file that it replaced."""
    replaced = {f"segments/of-{epoch}": epoch for epoch in epochs}
    (directory / "segments").mkdir()
    for file, epoch in replaced.items():
        (directory / file).touch()
        (directory / catalog_name(epoch)).touch()
    return replaced


def test_an_erasure_waits_for_readers_but_not_as_long_and_takes_no_later_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s)
    retention, replaced = Retention(tmp_path), files(tmp_path, (1, 2, 3, 4))
    for epoch in (1, 2, 3):
        retention.follows(epoch)
    now_s += limits.ERASED_GRACE_S - 1
    retention.follows(4)
    assert retention.sweep(replaced, erased=3) == []
    now_s += 1
    assert retention.sweep(replaced) == [], "without an erasure readers have longer"
    assert retention.sweep(replaced, erased=4) == [], "its own epoch has not stood so long"
    assert retention.sweep(replaced, erased=3) == ["segments/of-1", "segments/of-2", "segments/of-3"]
    assert sorted(path.name for path in tmp_path.glob("catalog-*")) == [catalog_name(3), catalog_name(4)]
    assert (tmp_path / "segments" / "of-4").exists()
    now_s += limits.SUPERSEDED_GRACE_S
    assert retention.sweep({"segments/of-4": 4}) == ["segments/of-4"]
