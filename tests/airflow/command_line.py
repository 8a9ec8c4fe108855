"""`airflow ...` as a person types it, without its seconds of start-up: one process has imported Airflow, and each command is a
fork of it, with the arguments, the output and the exit code of a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import socketserver
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_START_TIMEOUT_S = 400
_TIMEOUT_S = 400


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """:ivar address: of the socket of the process that forks."""

    address: str

    def __call__(self, *words: str, code: int | None = 0, typed: str = "") -> Said:
        """:param code: that it must end with; None is any. :param typed: its input, which is no terminal."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(self.address)
            with connection.makefile("rw") as stream:
                stream.write(json.dumps({"words": words, "typed": typed}) + "\n")
                stream.flush()
                said = Said(**json.loads(stream.readline()))
        assert code in (None, said.code), f"airflow {' '.join(words)} ended with {said.code}:\n{said.out}\n{said.err}"
        return said

    def reindex(self, *words: str, code: int | None = 0, typed: str = "") -> Said:
        return self("reindex", *words, code=code, typed=typed)


@contextlib.contextmanager
def command_line(environment: Mapping[str, str]) -> Iterator[CommandLine]:
    """For an Airflow whose processes have this environment."""
    with tempfile.TemporaryDirectory(prefix="reindex-cli-") as folder:
        address = f"{folder}/commands"
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, __file__, address],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not os.path.exists(address):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, "waited in vain for a process that has imported Airflow"
                time.sleep(0.1)
            yield CommandLine(address)
        finally:
            process.kill()
            process.wait()


class _Handler(socketserver.StreamRequestHandler):
    """In a fork of its own."""

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        with tempfile.TemporaryFile() as typed, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            typed.write(asked["typed"].encode())
            typed.seek(0)
            child = os.fork()
            if child == 0:
                for number, file in enumerate((typed, out, err)):
                    os.dup2(file.fileno(), number)
                os._exit(_run(asked["words"]))
            _, status = os.waitpid(child, 0)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        said = {"code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}
        self.wfile.write(json.dumps(said).encode() + b"\n")


def _run(words: list[str]) -> int:
    """As the interpreter ends `python -m airflow`."""
    from airflow.__main__ import main

    sys.argv = ["airflow", *words]
    try:
        main()
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 0


def _serve(address: str) -> None:
    import airflow.__main__
    import airflow.cli.commands.dag_command
    import airflow.models
    import sqlalchemy.orm

    # Else each fork does it anew: a third of a second's work.
    airflow.models.import_all_models()
    sqlalchemy.orm.configure_mappers()
    for name in ("reading", "starting", "answering", "looking", "watching"):
        __import__(f"airflow_reindex_provider.cli.{name}")
    airflow.__main__.cli_parser.get_parser()

    class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
        block_on_close = False

    # The socket has its name once it answers.
    with Server(f"{address}.new", _Handler) as server:
        os.rename(f"{address}.new", address)
        server.serve_forever()


if __name__ == "__main__":
    _serve(sys.argv[1])
