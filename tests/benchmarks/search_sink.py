"""A sink for ``_bulk`` bodies: it reads them and answers that each document was made. It is no engine and keeps nothing.

The answer to a request with a ``filter_path`` has the status of each document alone, as ours asks for; without one it is as
long as an engine's.

Whatever else is asked of it, it passes on to the real engine behind it, so that an index is there to be written to. With a folder
it keeps the bodies there, in their order.
"""

from __future__ import annotations

import itertools
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_numbers = itertools.count()
_BLOCK = 1024 * 1024
_END = b"\r\n\r\n"
_ITEM = b'{"index":{"status":201}}'
_WHOLE_ITEM = (
    b'{"index":{"_index":"bench","_id":"1","_version":1,"result":"created","_shards":{"total":1,"successful":1,"failed":0},'
    b'"_seq_no":0,"_primary_term":1,"status":201}}'
)
_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=UTF-8\r\ncontent-length: {}\r\n\r\n"


def serve(listener: socket.socket, engine: tuple[str, int], delay_s: float, keep: Path | None) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(connection, engine, delay_s, keep), daemon=True).start()


def _answer(connection: socket.socket, engine: tuple[str, int], delay_s: float, keep: Path | None) -> None:
    block = bytearray(_BLOCK)
    view = memoryview(block)
    with connection, suppress(ConnectionError):
        while size := connection.recv_into(view):
            while (at := block.find(_END, 0, size)) < 0:
                size += connection.recv_into(view[size:])
            head = bytes(view[:at])
            body = at + len(_END)
            length = _content_length(head)
            line = head.partition(b"\r\n")[0]
            if b"/_bulk" not in line:
                while size < body + length:
                    size += connection.recv_into(view[size:])
                connection.sendall(_ask(engine, bytes(view[:size])))
                continue
            lines = block.count(b"\n", body, size)
            rest = length - (size - body)
            kept = [bytes(view[body:size])] if keep else []
            while rest:
                got = connection.recv_into(view, min(rest, _BLOCK))
                lines += block.count(b"\n", 0, got)
                rest -= got
                if keep:
                    kept.append(bytes(view[:got]))
            if keep:
                Path(keep, f"{next(_numbers):06d}").write_bytes(b"".join(kept))
            time.sleep(delay_s)
            item = _ITEM if b"filter_path" in line else _WHOLE_ITEM
            items = b",".join([item] * (lines // 2))
            answer = b'{"took":1,"errors":false,"items":[' + items + b"]}"
            connection.sendall(_HEAD.format(len(answer)).encode() + answer)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _ask(engine: tuple[str, int], request: bytes) -> bytes:
    """The engine's answer to a request that is there as a whole."""
    with socket.create_connection(engine) as connection:
        connection.sendall(request)
        answer = b""
        while not _is_whole(answer):
            answer += connection.recv(_BLOCK)
    return answer


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(_END)
    return bool(end) and len(body) >= _content_length(head)


def main(engine: str, port_file: str, delay_s: str, keep: str | None = None) -> None:
    host, _, port = engine.removeprefix("http://").partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        written = Path(f"{port_file}.part")
        written.write_text(str(listener.getsockname()[1]))
        os.replace(written, port_file)
        serve(listener, (host, int(port)), float(delay_s), Path(keep) if keep else None)


if __name__ == "__main__":
    main(*sys.argv[1:])
