"""A DNS server with the records of the scenario; every other name does not exist."""

from __future__ import annotations

import asyncio
from typing import cast

from dnslib import AAAA, QTYPE, RCODE, RR, SOA, SRV, A, DNSRecord  # type: ignore[import-untyped]

TTL = 300
SERVICE = "_xmpp-federation._tcp"


class Zone:
    """Names and their records."""

    def __init__(self) -> None:
        self.records: dict[str, list[RR]] = {}
        self.questions: list[str] = []

    def address(self, name: str, address: str) -> None:
        """An A or AAAA record."""
        data = AAAA(address) if ":" in address else A(address)
        kind = QTYPE.AAAA if ":" in address else QTYPE.A
        self._add(name, RR(name, kind, rdata=data, ttl=TTL))

    def host(self, domain: str, target: str, port: int) -> None:
        """The federation record of a domain."""
        name = f"{SERVICE}.{domain}"
        self._add(name, RR(name, QTYPE.SRV, rdata=SRV(0, 5, port, target), ttl=TTL))

    def server(self, domain: str, target: str, port: int) -> None:
        """The record of a domain's server for classic S2S."""
        name = f"_xmpp-server._tcp.{domain}"
        self._add(name, RR(name, QTYPE.SRV, rdata=SRV(0, 5, port, target), ttl=TTL))

    def _add(self, name: str, record: RR) -> None:
        self.records.setdefault(name.lower(), []).append(record)

    def answer(self, data: bytes) -> bytes:
        """The response to one query."""
        query = DNSRecord.parse(data)
        name = str(query.q.qname).rstrip(".").lower()
        self.questions.append(f"{name} {QTYPE[query.q.qtype]}")
        reply = query.reply()
        for record in self.records.get(name, ()):
            if record.rtype == query.q.qtype:
                reply.add_answer(record)
        if not reply.rr:
            exists = any(known == name or known.endswith(f".{name}") for known in self.records)
            reply.header.rcode = RCODE.NOERROR if exists else RCODE.NXDOMAIN
            soa = SOA("ns.invalid", "hostmaster.invalid", (1, 3600, 600, 86400, TTL))
            reply.add_auth(RR(name.rpartition(".")[2] or ".", QTYPE.SOA, rdata=soa, ttl=TTL))
        return bytes(reply.pack())


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(self.zone.answer(data), addr)


class Server:
    """Serves a zone over UDP and TCP on one port, and on port 53 for those who know no other."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.host = ""
        self.address = ""
        self._sockets: list[asyncio.DatagramTransport | asyncio.Server] = []

    async def start(self, host: str) -> None:
        """Binds a free port of that address."""
        self.host = host
        self.address = f"{host}:{await self._listen(0)}"

    async def use_port_53(self) -> None:
        """Binds port 53 as well."""
        try:
            await self._listen(53)
        except OSError as error:
            raise RuntimeError(f"no port 53 on {self.host}: {error.strerror}") from error

    def stop(self) -> None:
        """Closes all sockets."""
        for socket in self._sockets:
            socket.close()

    async def _listen(self, port: int) -> int:
        server = await asyncio.start_server(self._stream, self.host, port)
        self._sockets.append(server)
        port = server.sockets[0].getsockname()[1]
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Datagrams(self.zone), local_addr=(self.host, port)
        )
        self._sockets.append(transport)
        return port

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                answer = self.zone.answer(await reader.readexactly(size))
                writer.write(len(answer).to_bytes(2, "big") + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
