"""What the servers that the system's packages bring have in common: whom they run as, and how their first files are made."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from collections.abc import Sequence


def server_user(*names: str, remedy: str) -> str | None:
    """Whom a server runs as where we are root, which it refuses: the first of these users that there is. None where we are not.

    :raises RuntimeError: there is none of them; says what to install."""
    if os.geteuid() != 0:
        return None
    for name in names:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError(f"There is no user {names[0]}, whom root could start the server as. {remedy}")


def install(command: Sequence[object], *, user: str | None) -> None:
    """Run the program that makes a server's first files, as this user.

    :raises RuntimeError: it failed; shows the end of what it said."""
    made = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        user=user,
        check=False,
    )
    if made.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{made.stdout[-2000:]}")
