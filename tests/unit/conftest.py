"""Fixtures of the tests that are about a door to the streams."""

from __future__ import annotations

from cli_in_process import cli  # noqa: F401, fixtures are found by their names here
from rest_client import api_server, server  # noqa: F401, fixtures are found by their names here
