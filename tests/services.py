"""What a test does for want of a service."""

from __future__ import annotations

import os

import pytest


def unavailable(service: str, error: Exception) -> None:
    """Skip the test for want of a service, or fail where REINDEX_REQUIRE_SERVICES=1 says that all must be there."""
    if os.environ.get("REINDEX_REQUIRE_SERVICES") == "1":
        raise error
    pytest.skip(f"{service} cannot be started here: {error}")
