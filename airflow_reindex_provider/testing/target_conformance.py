"""What every target must do, for anyone who writes one.

Subclass :class:`TargetConformance` in a test module and give it an ``index`` fixture: the target under test and a way to
look at it from outside::

    class TestMyTarget(TargetConformance):
        @pytest.fixture
        def index(self):
            return MyIndex(...)

A target that can hold passages with vectors has a second one, :class:`PassageConformance`.
"""

from __future__ import annotations

from airflow_reindex_provider.testing.target_suite.generations import GenerationsSuite
from airflow_reindex_provider.testing.target_suite.index import STREAM, Index, text_schema
from airflow_reindex_provider.testing.target_suite.listing import ListingSuite
from airflow_reindex_provider.testing.target_suite.marking import MarkingSuite
from airflow_reindex_provider.testing.target_suite.passages import PassageIndex, PassageSuite
from airflow_reindex_provider.testing.target_suite.rebuilding import RebuildingSuite
from airflow_reindex_provider.testing.target_suite.writing import WritingSuite

__all__ = ["STREAM", "Index", "PassageConformance", "PassageIndex", "TargetConformance", "text_schema"]


class TargetConformance(WritingSuite, GenerationsSuite, ListingSuite, RebuildingSuite, MarkingSuite):
    """The promises of ``core.protocols.TargetSession`` and ``Writer`` as tests. Each needs an index that does not exist."""


class PassageConformance(PassageSuite):
    """The promises of ``core.embedding.target.PassageTarget`` as tests. Each needs an index that does not exist."""
