"""Fixtures of the tests that are about a door to the streams."""

from __future__ import annotations

import pytest
from airflow.cli.cli_parser import get_parser
from rest_client import api_server, server  # noqa: F401, fixtures are found by their names here

from tests.airflow.command_line import Said


@pytest.fixture
def cli(metadata, capsys):
    """`airflow reindex ...` in this process."""

    def call(*words: str) -> Said:
        args = get_parser().parse_args(["reindex", *words])
        capsys.readouterr()
        try:
            args.func(args)
            code = 0
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return call
