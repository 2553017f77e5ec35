"""Let these tests import their helpers, and keep them off the user's cutout cache."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _cache_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("catalogs.archives.cache.user_cache_path", lambda name: tmp_path / "cache")
