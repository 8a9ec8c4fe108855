"""Lineage in OpenLineage's words: datasets and their facets. Its provider alone has this imported."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.openlineage.extractors.base import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import (
    column_lineage_dataset,
    dataset_version_dataset,
    input_statistics_input_dataset,
    lifecycle_state_change_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from airflow_reindex_provider.operators.dataset_names import Databases, Name, index_name, source_names

if TYPE_CHECKING:
    from airflow_reindex_provider.core.model import Field, Schema
    from airflow_reindex_provider.operators.touched import Touched
    from airflow_reindex_provider.stream import Stream


def lineage_of(
    stream: Stream, touched: Touched, *, reads_source: bool, reads_index: bool, writes_index: bool, ended: bool
) -> OperatorLineage[Any, Any]:
    """:param stream: the operator's; one of a group goes by ``touched``.
    :param ended: whether it has done what it could; before that there is nothing to count."""
    stream = touched.stream or stream
    databases = Databases()
    tables = dict(source_names(stream.source, databases)) if reads_source or writes_index else {}
    index = index_name(stream.target, databases) if reads_index or writes_index else None
    inputs = [_input(name, path, stream, touched, ended=ended) for path, name in tables.items() if reads_source]
    outputs = []
    if index is not None and reads_index and not writes_index:
        inputs.append(InputDataset(index.namespace, index.name, facets=_version(touched)))
    if index is not None and writes_index:
        outputs.append(_output(index, tables, stream, touched, counted=ended and reads_source))
    return OperatorLineage(inputs=inputs, outputs=outputs)


def lineage_of_clean_up(streams: Sequence[Stream], changed: Collection[str]) -> OperatorLineage[Any, Any]:
    """The indexes of all streams are looked at. :param changed: names of the streams of whose indexes something has gone: what a
    search finds in them is as it was."""
    databases = Databases()
    names = {stream.name: index_name(stream.target, databases) for stream in streams}
    return OperatorLineage(
        inputs=[InputDataset(name.namespace, name.name) for name in names.values() if name],
        outputs=[OutputDataset(name.namespace, name.name) for of, name in names.items() if name and of in changed],
    )


def _input(name: Name, path: str, stream: Stream, touched: Touched, *, ended: bool) -> InputDataset:
    """:param path: of the table in the document; empty for the source's own."""
    facets: dict[str, Any] = {}
    if (columns := _columns(touched.schema, path)) is not None:
        fields = [schema_dataset.SchemaDatasetFacetFields(name=column.name, type=column.type) for column in columns]
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields)
    counted: dict[str, Any] = {}
    if ended and not path and touched.read is not None:
        statistics = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=touched.read)
        counted["inputStatistics"] = statistics
    return InputDataset(name.namespace, name.name, facets=facets, inputFacets=counted)


def _output(index: Name, tables: dict[str, Name], stream: Stream, touched: Touched, *, counted: bool) -> OutputDataset:
    facets = _version(touched)
    if touched.swapped:
        facets["lifecycleStateChange"] = lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet(
            lifecycleStateChange=lifecycle_state_change_dataset.LifecycleStateChange.OVERWRITE
        )
    if touched.schema is not None and stream.transform is None:
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=[_field(f) for f in touched.schema.fields])
        if lineage := dict(_origins(touched.schema.fields, "", tables)):
            facets["columnLineage"] = column_lineage_dataset.ColumnLineageDatasetFacet(fields=lineage)
    counts: dict[str, Any] = {}
    if counted:
        written = touched.counts
        counts["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=written.created + written.updated + written.deleted
        )
    return OutputDataset(index.namespace, index.name, facets=facets, outputFacets=counts)


def _version(touched: Touched) -> dict[str, Any]:
    """The generation: one public name stands for one after another."""
    if touched.generation is None:
        return {}
    return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=touched.generation)}


def _field(field: Field) -> schema_dataset.SchemaDatasetFacetFields:
    inner = [_field(f) for f in field.fields]
    return schema_dataset.SchemaDatasetFacetFields(name=field.name, type=field.type, fields=inner)


def _columns(schema: Schema | None, path: str) -> list[Field] | None:
    """Those that are read of the table at this place of the document."""
    if schema is None:
        return None
    fields = schema.fields
    for name in path.split(".") if path else ():
        found = next((field for field in fields if field.name == name), None)
        if found is None:
            # A join table: none of its columns is in the document.
            return None
        fields = found.fields
    return [field for field in fields if not field.fields]


def _origins(fields: tuple[Field, ...], path: str, tables: dict[str, Name]) -> Iterator[tuple[str, Any]]:
    """Each field of the document, by its name with dots, and the column that it is."""
    table = tables.get(path)
    for field in fields:
        place = f"{path}.{field.name}" if path else field.name
        if field.fields:
            yield from _origins(field.fields, place, tables)
        elif table is not None:
            same = column_lineage_dataset.Transformation(type="DIRECT", subtype="IDENTITY")
            column = column_lineage_dataset.InputField(
                namespace=table.namespace, name=table.name, field=field.name, transformations=[same]
            )
            yield place, column_lineage_dataset.Fields(inputFields=[column])
