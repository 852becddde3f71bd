"""Checks the output as it comes, and keeps only counters. An honest line says whose it is and which; the rest of it
follows from that, so that a line that is lost, doubled, out of order, cut or mixed with another is seen at once."""

import string

# No `@` in it: that begins an honest line, and appears nowhere else.
PADDING = (string.ascii_letters + string.digits + "+-*/=_.:,;").encode() * 1000
LONGEST_ERRORS = 10


def line_of(stream: int, number: int) -> bytes:
    """Line `number` of `stream`, without its ending. Now and then a long one, which takes several reads."""
    mixed = stream * 7919 + number * 104729
    length = 60_000 if mixed % 4001 == 0 else 20 + mixed % 600
    start = mixed % 72
    return b"@%d %d %s" % (stream, number, PADDING[start : start + length])


class Stream:
    """What was sent and what came out of one honest connection."""

    __slots__ = ("number", "sent", "arrived", "ended_at")

    def __init__(self, number: int):
        self.number = number
        self.sent = 0
        self.arrived = 0
        self.ended_at = None

    def next_line(self) -> bytes:
        line = line_of(self.number, self.sent)
        self.sent += 1
        return line


class Checker:
    def __init__(self):
        self.streams = {}
        self.opened = 0
        self.lines = 0
        self.foreign_lines = 0
        self.bytes = 0
        self.lost = 0
        self.faults = 0
        self.errors = []
        self.tail = b""

    def open_stream(self) -> Stream:
        stream = Stream(self.opened)
        self.streams[stream.number] = stream
        self.opened += 1
        return stream

    def end_stream(self, stream: Stream, now: float) -> None:
        stream.ended_at = now
        self.forget_if_complete(stream)

    def forget_if_complete(self, stream: Stream) -> None:
        if stream.ended_at is not None and stream.arrived >= stream.sent:
            self.streams.pop(stream.number, None)

    def late(self, now: float, seconds: float) -> int:
        """Lines of connections that ended so long ago, and that have not come."""
        ended = (s for s in self.streams.values() if s.ended_at is not None and now - s.ended_at > seconds)
        return sum(stream.sent - stream.arrived for stream in ended)

    def fault(self, what: str) -> None:
        self.faults += 1
        if len(self.errors) < LONGEST_ERRORS:
            self.errors.append(what)

    def feed(self, chunk: bytes) -> None:
        self.bytes += len(chunk)
        lines = (self.tail + chunk).split(b"\n")
        self.tail = lines.pop()
        for line in lines:
            if line.startswith(b"@"):
                self.check(line)
            else:
                self.foreign_lines += 1
                if b"@" in line:
                    self.fault(f"an honest line inside another: {line[:200]!r}")

    def check(self, line: bytes) -> None:
        self.lines += 1
        try:
            stream_number, number, _ = line[1:].split(b" ", 2)
            stream, number = self.streams.get(int(stream_number)), int(number)
        except ValueError:
            return self.fault(f"no whole line: {line[:200]!r}")
        if stream is None:
            return self.fault(f"a line of a connection that is complete: {line[:60]!r}")
        if line != line_of(stream.number, number):
            self.fault(f"not as it was sent: {line[:60]!r}, {len(line)} bytes")
        if number > stream.arrived:
            self.lost += number - stream.arrived
            self.fault(f"lines {stream.arrived} to {number - 1} of connection {stream.number} are lost")
        elif number < stream.arrived:
            return self.fault(f"line {number} of connection {stream.number} again")
        stream.arrived = number + 1
        self.forget_if_complete(stream)

    def finish(self) -> None:
        """The output has ended: what is not here is lost."""
        if self.tail:
            self.fault(f"the output ends within a line: {self.tail[:200]!r}")
        for stream in self.streams.values():
            if stream.arrived < stream.sent:
                self.lost += stream.sent - stream.arrived
                self.fault(f"lines {stream.arrived} to {stream.sent - 1} of connection {stream.number} are lost")
