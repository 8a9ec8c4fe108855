"""The bundle of the page: the files that lie in its folder when the api-server first asks, and nothing else."""

from __future__ import annotations

import mimetypes
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response

from airflow_reindex_provider.plugin.bundle import BUNDLE, content_hash
from airflow_reindex_provider.plugin.problems import Problem

router = APIRouter(include_in_schema=False)
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""Of files that browsers refuse under a wrong type; a machine's own list may have one."""


class _File(NamedTuple):
    content: bytes
    media_type: str
    hash: str


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
def bundle_file(request: Request, path: str, v: str = "") -> Response:
    """For anybody, since it says nothing of any stream. What is asked for by its hash (``?v=``) never changes; else a browser
    asks again each time, and is told that it has it."""
    file = _files(BUNDLE).get(path)
    if file is None:
        raise Problem(404, "no-such-file", f"The page has no file {path!r}.")
    etag = f'"{file.hash}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "public, max-age=31536000, immutable" if v == file.hash else "public, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    had = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in had:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


@cache
def _files(folder: Path) -> dict[str, _File]:
    """By their path within the folder, so that no path of a request ever becomes one of the machine."""
    return {
        path.relative_to(folder).as_posix(): _File(content, _media_type(path), content_hash(content))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
        for content in [path.read_bytes()]
    }


def _media_type(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
