"""Tests that run in every format in which rows travel."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from airflow_reindex_provider.core.model import Format


class InEachFormat:
    """A class of tests, of which those with the fixture ``format`` run once in each."""

    formats: Sequence[Format] = (Format.ROWS,)
    """All that the source offers, or the target accepts."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "format" in metafunc.fixturenames:
            metafunc.parametrize("format", metafunc.cls.formats, ids=str)
