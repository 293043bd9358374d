"""Fixtures that the conftest.py of several test directories import."""

from pathlib import Path
from typing import Any

import pytest

from support.federation import Build, SmallFederation


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Builds federations (see SmallFederation), each in its own directory."""
    count = 0

    def build(*arguments: Any, **keywords: Any) -> SmallFederation:
        nonlocal count
        count += 1
        return SmallFederation(tmp_path / str(count), *arguments, **keywords)

    return build
