"""What SQL sources share: documents of several tables, as ideas without the SQL of any database; and for sources of rows, in
SQLAlchemy Core, the table with its cursor: windows, membership, pages, listings.

A source of rows describes its table as a :class:`~airflow_reindex_provider.sources.sql.relation.Relation` and says its horizon.
"""
