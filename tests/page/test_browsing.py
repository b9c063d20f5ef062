"""Without a browser, tests that need one are skipped, but fail in a pipeline, where nobody reads about it."""

from __future__ import annotations

import shutil

import pytest

from tests.page.browsing import chromium


def test_the_absence_of_a_browser_is_a_failure_in_a_pipeline_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="found no Chromium, expected one of chromium"):
        chromium()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="found no Chromium"):
        chromium()
