"""The clients. Honest ones may lose nothing; hostile ones do what a peer can do. Each kind is a coroutine that lives
through one connection; `Clients` keeps so many of each alive, and bounds what they send."""

import asyncio
import random
import socket
import struct

HOSTILE_HOST = 2
BLIND_HOST, STEADY_HOST, PASSING_HOST = 3, 4, 5
CROWD_HOSTS = (6, 7, 8, 9)
# By the clock of a minute, in seconds. Who never looks at its socket is gone before the crowd comes: in a full house,
# those who were told goodbye give way, and only who looks knows that it has to come back (P6).
BLIND_UNTIL, BLIND_LAST_START = 33, 20
PACKED_AT, CROWD_AT = 22, 38
# Honest clients are no hurry, but one that waits this long for anything has been let down.
PATIENCE = 45
IP_BIND_ADDRESS_NO_PORT = 24  # Linux; the constant has no name before Python 3.12.
PROTOCOLS = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"2W\x00\x00\x00\x01\x00\x00",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n",
    b"29 <34>1 - host app - - - octets",
    "UTF-16 text".encode("utf-16"),
)


class Clients:
    def __init__(self, loop, port, checker):
        self.loop, self.port, self.checker = loop, port, checker
        self.random = random.Random(1)
        self.began = loop.time()
        self.is_stopping = False
        self.opened = 0
        self.honest, self.hostile = set(), set()

    # What all of them need.

    def second(self) -> float:
        return (self.loop.time() - self.began) % 60

    async def pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self.random.uniform(least, most))

    async def connect(self, host: int) -> socket.socket:
        sock = socket.socket()
        try:
            sock.setblocking(False)
            # The port is chosen at connect, when the other end is known: else ports in TIME_WAIT run out.
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((f"127.0.0.{host}", 0))
            await self.loop.sock_connect(sock, ("127.0.0.1", self.port))
        except BaseException:
            sock.close()
            raise
        self.opened += 1
        return sock

    async def send(self, sock, payload: bytes) -> None:
        await asyncio.wait_for(self.loop.sock_sendall(sock, payload), PATIENCE)

    def keep(self, count: int, life, *args, pause=(0.0, 0.5), is_honest=False) -> None:
        """So many of this kind, one connection after the other."""
        tasks = self.honest if is_honest else self.hostile
        for _ in range(count):
            tasks.add(self.loop.create_task(self.again_and_again(life, args, pause, is_honest)))

    async def again_and_again(self, life, args, pause, is_honest) -> None:
        await self.pause(0, 1)
        while not self.is_stopping:
            await self.once(life, args, is_honest)
            await self.pause(*pause)

    async def once(self, life, args, is_honest) -> None:
        try:
            await (self.as_honest(life, *args) if is_honest else self.as_hostile(life, *args))
        except (OSError, asyncio.TimeoutError) as error:
            # A hostile one is turned away, or gives way; an honest one never is.
            if is_honest:
                self.checker.fault(f"an honest client ({life.__name__}) met {type(error).__name__}: {error}")

    async def as_honest(self, life, host: int, *args) -> None:
        stream = self.checker.open_stream()
        try:
            sock = await self.connect(host)
            with sock:
                await life(sock, stream, *args)
        finally:
            self.checker.end_stream(stream, self.loop.time())

    async def as_hostile(self, life, *args) -> None:
        with await self.connect(HOSTILE_HOST) as sock:
            await life(sock, *args)

    # Honest ones.

    @staticmethod
    def is_told_goodbye(sock) -> bool:
        try:
            return sock.recv(1) == b""
        except BlockingIOError:
            return False

    def block(self, stream, lines: int) -> bytes:
        ending = b"\r\n" if stream.number % 3 == 0 else b"\n"
        return b"".join(stream.next_line() + ending for _ in range(lines))

    async def send_in_pieces(self, sock, payload: bytes) -> None:
        cut = self.random.randrange(len(payload) + 1)
        await self.send(sock, payload[:cut])
        await self.pause(0, 0.02)
        await self.send(sock, payload[cut:])

    async def steady(self, sock, stream, lines: int) -> None:
        """Writes for a minute and more, in pieces that end anywhere, and looks at its socket before."""
        until = self.loop.time() + self.random.uniform(30, 300)
        while self.loop.time() < until and not self.is_stopping and not self.is_told_goodbye(sock):
            await self.send_in_pieces(sock, self.block(stream, self.random.randint(1, lines)))
            if stream.number % 4 == 0:
                await self.send(sock, b"\n\r\n")  # A heartbeat is no line.
            await self.pause(0.02, 0.3)

    async def passing(self, sock, stream) -> None:
        """Comes, writes and goes: with or without a last newline, with a close or with a half-close and a wait."""
        for _ in range(self.random.randint(0, 3)):
            await self.send_in_pieces(sock, self.block(stream, self.random.randint(1, 20)))
        if self.random.random() < 0.5:
            await self.send(sock, stream.next_line())
        if self.random.random() < 0.5:
            sock.shutdown(socket.SHUT_WR)
            end = await asyncio.wait_for(self.loop.sock_recv(sock, 1), PATIENCE)
            if end != b"":
                self.checker.fault(f"the server said {end!r}")

    async def blind(self, sock, stream) -> None:
        """Pauses until it has been told goodbye, does not look, and writes on."""
        await self.send(sock, self.block(stream, 2))
        while self.second() < BLIND_UNTIL - 6 and not self.is_stopping:
            await self.pause(2.5, 5)
            await self.send(sock, self.block(stream, self.random.randint(1, 3)))

    async def crowding(self, sock, stream) -> None:
        """One of more than the house holds: it writes at once, and may have to wait in the backlog."""
        until = self.loop.time() + self.random.uniform(1, 9)
        await self.send(sock, self.block(stream, 2))
        while self.loop.time() < until and not self.is_told_goodbye(sock):
            await self.pause(0.2, 0.6)
            await self.send(sock, self.block(stream, 1))

    async def blind_ones(self, host: int) -> None:
        while not self.is_stopping:
            if self.second() < BLIND_LAST_START:
                await self.once(self.blind, (host,), True)
            await self.pause(0.2, 1)

    async def crowds(self, size: int) -> None:
        """Once a minute, many honest clients at once."""
        while not self.is_stopping:
            if CROWD_AT <= self.second() < CROWD_AT + 1:
                hosts = (CROWD_HOSTS[at % len(CROWD_HOSTS)] for at in range(size))
                await asyncio.gather(*(self.once(self.crowding, (host,), True) for host in hosts))
            await asyncio.sleep(0.5)

    # Hostile ones.

    @staticmethod
    def reset(sock) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def hoarding(self, sock, size: int) -> None:
        """A line that never ends."""
        await self.send(sock, b"h" * size)
        await self.pause(1, 5)
        if self.random.random() < 0.5:
            self.reset(sock)

    async def slow(self, sock) -> None:
        """A byte a time."""
        for at in range(200):
            await self.send(sock, b"\n" if at % 50 == 49 else b"s")
            await self.pause(0.1, 0.5)

    async def resetting(self, sock) -> None:
        await self.send(sock, b"whole\nhal"[: self.random.randint(0, 9)])
        self.reset(sock)

    async def flooding(self, sock, bytes_a_second: int) -> None:
        """Many lines, then a reset in the middle of one."""
        chunk = (b"f" * 299 + b"\n") * 100
        for _ in range(self.random.randint(50, 200)):
            await self.send(sock, chunk)
            await asyncio.sleep(len(chunk) / bytes_a_second)
        await self.send(sock, b"f" * 100)
        self.reset(sock)

    async def probing(self, sock) -> None:
        if self.random.random() < 0.5:
            await self.pause(0, 0.1)

    async def foreign(self, sock) -> None:
        await self.send(sock, self.random.choice(PROTOCOLS))
        await self.pause(0, 1)

    async def sitting(self, sock) -> None:
        """Says nothing, hears our goodbye, and stays."""
        await self.pause(20, 40)

    async def packing(self, sock) -> None:
        for _ in range(6):
            await self.send(sock, b"p")
            await self.pause(0.2, 0.6)

    async def packs(self, size: int) -> None:
        """Once a minute, one host wants more connections than it may have."""
        while True:
            if PACKED_AT <= self.second() < PACKED_AT + 1:
                await asyncio.gather(*(self.once(self.packing, (), False) for _ in range(size)))
            await asyncio.sleep(0.5)

    # All of them.

    def start(self) -> None:
        self.keep(6, self.steady, STEADY_HOST, 30, is_honest=True)
        self.keep(2, self.steady, STEADY_HOST, 400, is_honest=True)
        self.keep(8, self.passing, PASSING_HOST, is_honest=True)
        self.honest |= {self.loop.create_task(self.blind_ones(BLIND_HOST)) for _ in range(10)}
        self.honest.add(self.loop.create_task(self.crowds(144)))
        self.keep(16, self.hoarding, 64 * 1024)
        self.keep(2, self.hoarding, 300 * 1024)
        self.keep(6, self.slow)
        self.keep(4, self.resetting)
        self.keep(2, self.flooding, 500_000)
        self.keep(4, self.probing)
        self.keep(2, self.foreign)
        self.hostile.add(self.loop.create_task(self.sitters()))
        self.hostile.add(self.loop.create_task(self.packs(60)))

    async def sitters(self) -> None:
        """Two a second, each for half a minute."""
        sitting = set()
        try:
            while True:
                task = self.loop.create_task(self.once(self.sitting, (), False))
                sitting.add(task)
                task.add_done_callback(sitting.discard)
                await asyncio.sleep(0.5)
        finally:
            for task in sitting:
                task.cancel()

    async def stop(self) -> None:
        """The honest ones finish what they are at; the hostile ones are broken off."""
        self.is_stopping = True
        for task in self.hostile:
            task.cancel()
        done, late = await asyncio.wait(self.honest | self.hostile, timeout=2 * PATIENCE)
        for task in done:
            if not task.cancelled() and task.exception():
                self.checker.fault(f"a client broke: {task.exception()!r}")
        for task in late:
            task.cancel()
            self.checker.fault(f"a client does not end: {task}")

    async def leave_with_the_server(self, stream, sock) -> None:
        """Connected when the server is told to stop: it hears the goodbye, says a last line, and closes."""
        try:
            with sock:
                await asyncio.wait_for(self.loop.sock_recv(sock, 1), PATIENCE)
                await self.send(sock, self.block(stream, 1))
        except (OSError, asyncio.TimeoutError) as error:
            self.checker.fault(f"a client at the end met {type(error).__name__}: {error}")
        finally:
            self.checker.end_stream(stream, self.loop.time())
