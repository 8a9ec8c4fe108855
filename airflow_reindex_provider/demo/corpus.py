"""A real corpus that every machine has offline: the documented API of the standard library and of what is installed."""

from __future__ import annotations

import ast
import platform
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path

ROWS = 30_000
"""How many rows the demo takes; a machine with Airflow installed has more."""

_NOT_API = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "migrations",
    "_vendor",
    "__pycache__",
}


@dataclass(frozen=True, slots=True)
class ApiDoc:
    """One documented function or class. ``id`` is ``package:qualified.name``, with ``#2`` ... where one is defined twice."""

    id: str
    package: str
    version: str
    kind: str
    qualified_name: str
    signature: str
    docstring: str


def read_corpus(rows: int = ROWS) -> Iterator[ApiDoc]:
    """Up to ``rows`` documented functions and classes, read from source files without importing them.

    The same environment gives the same rows in the same order: the standard library, then the distributions by name. Keys
    are unique. Files that this Python cannot parse are left out.
    """
    seen: dict[str, int] = {}
    return islice(_docs(seen), rows)


def _docs(seen: dict[str, int]) -> Iterator[ApiDoc]:
    for package, version, root, files in _packages():
        for file in sorted(files):
            if not _NOT_API.intersection(file.parts):
                yield from _docs_of(package, version, root / file, _module_name(file), seen)


def _packages() -> Iterator[tuple[str, str, Path, list[Path]]]:
    """Name, version, root and source files, relative to the root, of the standard library and each distribution."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    yield "python", platform.python_version(), stdlib, [file.relative_to(stdlib) for file in stdlib.rglob("*.py")]
    found = {d.metadata["Name"]: d for d in metadata.distributions() if d.metadata["Name"]}
    for name in sorted(found, key=str.lower):
        files = [Path(file) for file in found[name].files or () if file.suffix == ".py" and ".." not in file.parts]
        yield name, found[name].version, Path(str(found[name].locate_file(""))), files


def _module_name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _docs_of(package: str, version: str, file: Path, module: str, seen: dict[str, int]) -> Iterator[ApiDoc]:
    try:
        with warnings.catch_warnings():
            # Other people's escape sequences are none of ours.
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node, name in _definitions(tree, module):
        docstring = ast.get_docstring(node)
        if not docstring:
            continue
        key = f"{package}:{name}"
        seen[key] = seen.get(key, 0) + 1
        yield ApiDoc(
            id=key if seen[key] == 1 else f"{key}#{seen[key]}",
            package=package,
            version=version,
            kind="class" if isinstance(node, ast.ClassDef) else "function",
            qualified_name=name,
            signature=_storable(_signature(node)),
            docstring=_storable(docstring),
        )


_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _definitions(parent: ast.AST, prefix: str) -> Iterator[tuple[_Definition, str]]:
    """Functions and classes with their qualified names, in order; not those inside functions."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, _Definition):
            name = f"{prefix}.{node.name}"
            yield node, name
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node, name)
        elif isinstance(node, ast.If | ast.Try):
            yield from _definitions(node, prefix)


def _signature(node: _Definition) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{node.name}({ast.unparse(node.args)}){returns}"


def _storable(text: str) -> str:
    """Without what no Postgres text can hold: NUL characters and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
