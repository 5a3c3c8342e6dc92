"""A load generator cheap enough not to be what is measured: keep-alive connections over raw asyncio."""

import asyncio
import resource
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

Source = Callable[[], bytes | None]  # the next request; None when there is none left
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"
PATIENCE = 20.0  # seconds for the answers still under way when time is up


@dataclass
class Tally:
    """What one run of load met with."""

    latencies: list[float] = field(default_factory=list)  # seconds
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0  # connections that ended, or answers that never came
    seconds: float = 0.0
    bytes: int = 0
    own_cpu: float = 0.0  # seconds

    @property
    def answered(self) -> int:
        return len(self.latencies)

    def percentile(self, share: float) -> float:
        """That share of the answers came within so many milliseconds (nearest rank)."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Connection(asyncio.Protocol):
    """Sends the next request as soon as the last answer is complete."""

    def __init__(self, next_request: Source, tally: Tally, until: float) -> None:
        self.next_request, self.tally, self.until = next_request, tally, until
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pending = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        request = self.next_request() if perf_counter() < self.until else None
        if request is None:
            self.done.set_result(None)
            self.transport.close()
            return
        self.sent_at = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.pending += data
        head = self.pending.find(HEAD_END)
        if head < 0:
            return
        whole = head + 4 + content_length(self.pending[:head])
        if len(self.pending) < whole:
            return
        now = perf_counter()
        self.tally.latencies.append(now - self.sent_at)
        self.tally.statuses[int(self.pending[9:12])] += 1
        self.tally.bytes += whole - head - 4
        self.pending = b""
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.tally.broken += 1
            self.done.set_result(None)


def content_length(head: bytes) -> int:
    """The length of the body behind this head, which each of ours says."""
    at = head.lower().index(LENGTH)
    return int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0])


def run(port: int, sources: list[Source], seconds: float) -> Tally:
    """The tally of one connection for each source of requests, for so many seconds, on this machine."""
    return asyncio.run(_run(port, sources, seconds))


async def _run(port: int, sources: list[Source], seconds: float) -> Tally:
    tally = Tally()
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = perf_counter()
    loop = asyncio.get_running_loop()
    made = [
        loop.create_connection(
            lambda source=source: Connection(source, tally, started + seconds),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        for source in sources
    ]
    connections = [protocol for _, protocol in await asyncio.gather(*made)]
    await asyncio.wait([connection.done for connection in connections], timeout=seconds + PATIENCE)
    tally.broken += sum(not connection.done.done() for connection in connections)
    for connection in connections:
        connection.transport.abort()
    tally.seconds = perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    tally.own_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return tally


def get(path: str, token: str) -> bytes:
    """A GET as bytes."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def post(path: str, token: str, body: bytes) -> bytes:
    """A POST of JSON as bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
