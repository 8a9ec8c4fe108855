"""Fixtures of the tests that are about a door to the streams."""

from __future__ import annotations

from rest_client import api_server, server  # noqa: F401, fixtures are found by their names here
