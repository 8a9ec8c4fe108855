"""The two ways in which mysql-connector-python reads.

A plugin, so that it is imported before pyarrow, which takes the room for thread-local variables that the compiled part needs.
"""

from __future__ import annotations

import mysql.connector.pooling
import pytest
from services import unavailable


@pytest.fixture(params=["compiled", "python"])
def mysql_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled part, and Python alone, which is what reads wherever the former cannot be loaded."""
    if request.param == "python":
        monkeypatch.setattr(mysql.connector.pooling, "CMySQLConnection", None)
    elif not mysql.connector.HAVE_CEXT:
        unavailable("The compiled part of mysql-connector-python", ImportError("see docs/mysql.md"))
