"""What a task of a stream tells OpenLineage, of which nothing is imported before its provider asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_reindex_provider.operators.touched import Touched

if TYPE_CHECKING:
    from airflow_reindex_provider.stream import Stream


class WithLineage:
    """A task of a stream that says, as it ends, which datasets it has read and written.

    ``get_openlineage_facets_on_...`` is what OpenLineage's provider calls."""

    reads_source: ClassVar[bool] = False
    reads_index: ClassVar[bool] = False
    writes_index: ClassVar[bool] = False
    stream: Stream
    _touched: Touched | None = None

    @property
    def touched(self) -> Touched:
        if self._touched is None:
            self._touched = Touched()
        return self._touched

    def get_openlineage_facets_on_start(self) -> Any:
        return self._lineage(Touched(self.touched.stream), ended=False)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        return self._lineage(self.touched, ended=True)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """What was acknowledged is in the index, whatever has become of the rest."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _lineage(self, touched: Touched, *, ended: bool) -> Any:
        from airflow_reindex_provider.operators.openlineage import lineage_of

        return lineage_of(
            self.stream,
            touched,
            reads_source=self.reads_source,
            reads_index=self.reads_index,
            writes_index=self.writes_index,
            ended=ended,
        )
