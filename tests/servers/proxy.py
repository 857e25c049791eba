"""A TCP proxy that does to connections what networks do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from sides import free_port

BLOCK = 64 * 1024
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: the other end gets a reset


class Proxy:
    """Forwards one port to another, as long as it is told to."""

    def __init__(self, address: str, target: tuple[str, int]) -> None:
        self.address = address
        self.target = target
        self.port = 0
        self.corrupt = 0  # so many further blocks are changed
        self._flows = asyncio.Event()
        self._flows.set()
        self._swallowed: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Binds a free port."""
        self.port = free_port(self.address)
        self._server = await asyncio.start_server(self._accepted, self.address, self.port)

    async def stop(self) -> None:
        """Closes everything."""
        if self._server is not None:
            self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset(self) -> None:
        """Both ends of every connection get a reset."""
        for writer in self._streams:
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()

    def swallow(self) -> None:
        """What the connections of now bring goes nowhere, and nobody is told."""
        self._swallowed |= self._tasks

    def stall(self) -> None:
        """Nothing is read any more."""
        self._flows.clear()

    def flow(self) -> None:
        """Everything goes on."""
        self._flows.set()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        ends = {writer, far_writer}
        self._streams |= ends
        ways = ((reader, far_writer), (far_reader, writer))
        tasks = [asyncio.ensure_future(self._carry(source, sink)) for source, sink in ways]
        self._tasks.update(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.difference_update(tasks)
        self._streams -= ends
        for end in ends:
            end.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        with contextlib.suppress(OSError):
            while block := await source.read(BLOCK):
                await self._flows.wait()
                if me in self._swallowed:
                    continue
                if self.corrupt > 0:
                    self.corrupt -= 1
                    block = bytes([block[0] ^ 0x55]) + block[1:]
                sink.write(block)
                await sink.drain()
        if me not in self._swallowed and not sink.is_closing():
            # The other direction goes on.
            with contextlib.suppress(OSError):
                sink.write_eof()
