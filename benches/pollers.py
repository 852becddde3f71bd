#!/usr/bin/env python3
"""What pollers cost: 100 pages, each fetched a second after its last fetch has ended, from a server on this machine, in
several kinds in one run. Prints a table: the delay of a TCP client's lines beside them, fetches a second, our processor
time for each, and our memory.

    benches/pollers.py [SECONDS [PAGES]]      10 and 100, unless said

Needs a release build (or the binary that LUMBERJACK names), and nothing but Python."""

import gzip
import multiprocessing
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ.get("LUMBERJACK", str(ROOT / "target/release/lumberjack"))
LINE = "2026-01-01T00:00:00.000Z box app[123]: number %08d of a page, and on to a hundred bytes in all.\n"
assert len(LINE % 0) == 100


def page(lines, first):
    return "".join(LINE % number for number in range(first, first + lines)).encode()


def head(status, fields, length):
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, fields, length)


def answers(kind):
    """What a page answers, one after the other, again and again."""
    if kind == "not modified":
        body = page(40, 0)
        first = head(b"200 OK", b'ETag: "a"\r\n', len(body)) + body
        return [first], b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'
    lines = 40 if kind == "4 KB" else 10_000
    # Two pages in turn that slide by ten lines would go back; eight go on, and then begin anew, which is a gap now and then.
    bodies = [page(lines, 10 * number) for number in range(8)] if "slides" in kind else [page(lines, 0)]
    fields = b""
    if "gzip" in kind:
        bodies, fields = [gzip.compress(body, 6) for body in bodies], b"Content-Encoding: gzip\r\n"
    return [head(b"200 OK", fields, len(body)) + body for body in bodies], None


def serve(listener, kind, count):
    sent, tagged = answers(kind)

    def talk(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked = b""
        number = 0
        while True:
            while b"\r\n\r\n" not in asked:
                try:
                    more = connection.recv(4096)
                except ConnectionError:
                    return
                if not more:
                    return
                asked += more
            is_tagged = tagged and b"If-None-Match" in asked
            asked = b""
            with count.get_lock():
                count.value += 1
            try:
                connection.sendall(tagged if is_tagged else sent[number % len(sent)])
            except ConnectionError:
                return
            number += 1

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


class Receiver:
    def __init__(self, polls):
        args = [BINARY, "--listen", "127.0.0.1:0"]
        for poll in polls:
            args += ["--poll", poll]
        if polls:
            args += ["--poll-interval", "1s", "--poll-timeout", "1m"]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out = self.process.stdout.fileno()
        self.port = None
        while self.port is None:
            said = self.process.stderr.readline().decode()
            assert said, "it has ended"
            if "Listening on " in said:
                self.port = int(said.rsplit(":", 1)[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def cpu(self):
        """Seconds of processor so far, finer than the ticks of `stat`."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def memory(self, name):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith(name)).split()[1]) / 1024

    def read_until(self, mark):
        """Reads the output until these bytes, which are a line of their own."""
        kept = b""
        while True:
            ready, _, _ = select.select([self.out], [], [], 20)
            assert ready, "a line did not come"
            chunk = os.read(self.out, 1 << 20)
            assert chunk, "it has ended"
            if mark in kept + chunk:
                return
            kept = chunk[-len(mark):]

    def drain(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.out], [], [], left)[0]:
                assert os.read(self.out, 1 << 20), "it has ended"

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        while os.read(self.out, 1 << 20):
            pass
        assert self.process.wait(20) == 0


def measure(kind, seconds, pages):
    count = multiprocessing.Value("q", 0)
    polls, server = [], None
    if kind != "none":
        listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        server = multiprocessing.Process(target=serve, args=(listener, kind, count), daemon=True)
        server.start()
        port = listener.getsockname()[1]
        polls = [f"p{number}=http://127.0.0.1:{port}/{number}" for number in range(pages)]
    receiver = Receiver(polls)
    client = socket.create_connection(("127.0.0.1", receiver.port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The first pages bring all their lines.
    receiver.drain(4)
    delays, before, cpu, begun = [], count.value, receiver.cpu(), time.monotonic()
    while time.monotonic() < begun + seconds:
        mark = b"a client's line %d\n" % len(delays)
        sent = time.monotonic()
        client.sendall(mark)
        receiver.read_until(mark)
        delays.append(time.monotonic() - sent)
        receiver.drain(0.003)
    cpu, fetches = receiver.cpu() - cpu, count.value - before
    # And without the client.
    quiet = receiver.cpu(), count.value
    receiver.drain(5)
    quiet_cpu, quiet_fetches = receiver.cpu() - quiet[0], count.value - quiet[1]
    delays.sort()
    micro = [round(1e6 * delays[min(len(delays) - 1, int(len(delays) * part))]) for part in (0.5, 0.99, 1)]
    each = f"{1e6 * quiet_cpu / quiet_fetches:,.0f}" if quiet_fetches else "-"
    print(
        f"| {kind} | {micro[0]:,} | {micro[1]:,} | {micro[2]:,} | {fetches / seconds:.0f} | {each}"
        f" | {100 * quiet_cpu / 5:.1f} | {receiver.memory('VmRSS:'):.0f} | {receiver.memory('VmHWM:'):.0f} |",
        flush=True,
    )
    client.close()
    receiver.stop()
    if server:
        server.terminate()


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    pages = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    print("| pages | p50 | p99 | longest, us | fetches/s | us of processor a fetch | processor % | RSS, MiB | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    kinds = ["none", "not modified", "4 KB", "1 MB", "1 MB, slides", "1 MB, gzip", "1 MB, gzip, slides"]
    for kind in kinds:
        measure(kind, seconds, pages)


if __name__ == "__main__":
    main()
