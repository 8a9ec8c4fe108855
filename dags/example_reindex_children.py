"""A document of several tables: an album with its artist and its tracks, which a change of any of them brings again."""

from __future__ import annotations

from airflow_reindex_provider import (
    Child,
    Parent,
    PostgresSource,
    PostgresTarget,
    RebuildDag,
    ReindexDag,
    Stream,
    SweepDag,
)

albums = Stream(
    name="albums",
    source=PostgresSource(
        "shop_db",
        table="public.albums",
        primary_key="id",
        cursor_field="updated_at",
        columns=("title",),
        # Once, before the first run: airflow reindex tombstones install albums --conn-id shop_owner
        tombstones=True,
        children=(
            # A foreign key keeps artists that have albums, so none ever leaves a document.
            Parent(
                "artist",
                table="public.artists",
                via="artist_id",
                cursor_field="updated_at",
                columns=("name", "country"),
                tombstones=False,
            ),
            Child(
                "tracks",
                table="public.tracks",
                foreign_key="album_id",
                cursor_field="updated_at",
                columns=("id", "title", "seconds"),
                order_by="place",
            ),
        ),
    ),
    target=PostgresTarget("search_db", index="public.albums_index", indexes=("USING gin (tracks jsonb_path_ops)",)),
)

ReindexDag(albums, schedule="*/5 * * * *")
RebuildDag(albums)
SweepDag(albums, schedule="@weekly")
