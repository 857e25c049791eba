"""Files of /etc that one server alone sees: a mount namespace of its own, which needs root."""

from __future__ import annotations

import asyncio
from pathlib import Path

UNSHARE = ("unshare", "-m", "--propagation", "private", "sh", "-c")


async def require_private_files() -> None:
    """Fails, and says why, where this machine forbids what `with_private_file` does."""
    child = await asyncio.create_subprocess_exec(
        *(*UNSHARE, "mount --bind /etc/hosts /etc/hosts"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await child.communicate()
    if child.returncode != 0:
        said = output.decode(errors="replace").strip()
        raise RuntimeError(f"no mount namespace (unshare -m, mount --bind) here: {said}")


def with_private_file(place: str, content: Path, *command: str) -> tuple[str, ...]:
    """The command that runs `command`, as the same process, with that content of a file."""
    return (*UNSHARE, f'mount --bind "$0" {place} && exec "$@"', str(content), *command)
