"""Postgres: sessions, names, types, errors and listings, used from both sides."""
