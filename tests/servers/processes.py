"""Server processes: started with a log file, ended by their own id."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

DEADLINE = 300.0  # ejabberd starts in 3 s, and has taken more than 30 on a busy machine
POLL = 0.05


class NotReady(Exception):
    """Something that had to happen did not, within the deadline."""


async def until(
    what: str, holds: Callable[[], Awaitable[bool]], deadline: float = DEADLINE
) -> None:
    """Asks again and again until `holds`; for states that nobody announces."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while not await holds():
        if loop.time() > end:
            raise NotReady(f"{what}: not within {deadline:.0f} s")
        await asyncio.sleep(POLL)


async def accepts(address: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True


class Process:
    """One child process; its output goes to `log`."""

    def __init__(self, name: str, log: Path, child: asyncio.subprocess.Process) -> None:
        self.name = name
        self.log = log
        self.child = child

    @classmethod
    async def start(cls, name: str, log: Path, *command: str) -> Process:
        """Starts `command`."""
        with log.open("ab") as output:
            child = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
            )
        return cls(name, log, child)

    async def ready(
        self, what: str, holds: Callable[[], Awaitable[bool]], deadline: float = DEADLINE
    ) -> None:
        """Waits until `holds`, or says at once that the process has ended."""

        async def ready_or_ended() -> bool:
            if self.child.returncode is not None:
                code, said = self.child.returncode, self.log_tail(1)
                raise NotReady(f"{self.name} ended with code {code}: {said}")
            return await holds()

        await until(f"{self.name}: {what}", ready_or_ended, deadline)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if the process still runs."""
        if self.child.returncode is None:
            self.child.send_signal(number)

    async def signal_at_rest(self, number: signal.Signals) -> None:
        """Sends a signal once the process waits for something to do.

        Prosody 0.12 runs its handlers between any two steps of its own: what a handler writes to a
        connection that is being flushed at that moment is lost.
        """

        async def waits() -> bool:
            state = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()[0]
            return state == "S"

        await self.ready("waits for something to do", waits)
        self.signal(number)

    async def end(self, deadline: float = DEADLINE) -> int:
        """SIGTERM, and SIGKILL after the deadline; the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.child.wait(), deadline)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.child.wait()

    def log_text(self) -> str:
        """What the process has written so far."""
        return self.log.read_text(errors="replace")

    def log_tail(self, lines: int = 60) -> str:
        """The end of it, for a report."""
        return "\n".join(self.log_text().splitlines()[-lines:])
