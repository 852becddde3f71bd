#!/usr/bin/env python3
"""What a spool and JetStream cost: the same lines of 128 bytes through several ways in one run, each into a server of its
own on this machine. Prints a table: megabytes and lines a second, CPU seconds a gigabyte of ours and of the server.

    benches/beyond.py [MEGABYTES]      256, unless said

Needs a release build and a `nats-server` (LUMBERJACK_NATS_SERVER, or in PATH; .ci/install-clients gets one). The NATS
project's own clients are measured too where they are: `nats` (LUMBERJACK_NATS_CLI, or in PATH), and nats-py, if the
Python that runs this knows it (`pip install nats-py`)."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINE = b"2026-01-01T00:00:00.000Z box app[123]: " + b"x" * 88
LINES_A_BLOCK = 8192
BLOCK = (LINE + b"\n") * LINES_A_BLOCK
BATCH_BYTES = 256 * 1024
assert len(LINE) == 127
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 300


def cpu(pid):
    """User and system seconds of a process so far."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    """As much of NATS as is needed."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.asked, self.inbox = 0, b"_INBOX.%d" % self.socket.getsockname()[1]
        self.socket.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
        self.socket.sendall(b"SUB %s.* 1\r\nPING\r\n" % self.inbox)
        while not self.file.readline().startswith(b"PONG"):
            pass

    def request(self, subject, payload, headers=None):
        self.asked += 1
        inbox = b"%s.%d" % (self.inbox, self.asked)
        if headers is None:
            head = b"PUB %s %s %d\r\n" % (subject, inbox, len(payload))
        else:
            text = b"NATS/1.0\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in headers) + b"\r\n"
            head = b"HPUB %s %s %d %d\r\n" % (subject, inbox, len(text), len(text) + len(payload)) + text
        self.socket.sendall(b"".join((head, payload, b"\r\n")))
        while True:
            words = self.file.readline().split()
            if words[0] == b"PING":
                self.socket.sendall(b"PONG\r\n")
            elif words[0] in (b"MSG", b"HMSG"):
                body = self.file.read(int(words[-1]) + 2)[:-2]
                if words[1] == inbox:
                    return json.loads(body if words[0] == b"MSG" else body[int(words[-2]):])

    def api(self, what, request=b""):
        answer = self.request(b"$JS.API." + what, request)
        if "error" in answer:
            raise SystemExit(f"{what}: {answer['error']}")
        return answer


class Server:
    """A fresh one, with the stream."""

    def __init__(self, program, folder):
        self.port, self.folder = free_port(), folder
        config = folder / "server.conf"
        config.write_text(f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{folder}/store" }}\n')
        log = open(folder / "server.log", "wb")
        self.process = subprocess.Popen([program, "-c", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.client = wait("the server", self.connect)
        stream = {"name": "LOGS", "subjects": ["logs.>"], "storage": "file", "num_replicas": 1}
        self.client.api(b"STREAM.CREATE.LOGS", json.dumps(stream).encode())

    def connect(self):
        try:
            return Client(self.port)
        except OSError:
            return None

    def has(self, lines):
        """Whether so many lines are stored. Their headers are counted with them: a thousandth too early."""
        state = self.client.api(b"STREAM.INFO.LOGS")["state"]
        return state["bytes"] >= lines * len(LINE) + lines - state["messages"]

    def stop(self):
        self.process.kill()
        self.process.wait()


class Ours:
    def __init__(self, binary, *arguments):
        command = [binary, "--listen", "127.0.0.1:0", "--receipt", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = b""
        while b"Memory budget" not in said:
            line = self.process.stderr.readline()
            if not line:
                raise SystemExit(f"it ended: {said.decode()}")
            said += line
        self.port = int(re.search(rb"\[tcp\] Listening on 127.0.0.1:(\d+)", said)[1])
        # What it says from now on is not read: a few lines.

    def take(self, blocks):
        """Sends the blocks, and waits for the receipt."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            client.settimeout(PATIENCE)
            for _ in range(blocks):
                client.sendall(BLOCK)
            client.shutdown(socket.SHUT_WR)
            receipt = b""
            while piece := client.recv(100):
                receipt += piece
            assert receipt == b"%d lines\n" % (blocks * LINES_A_BLOCK), receipt

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def wait(what, ask):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := ask():
            return answer
        time.sleep(0.01)
    raise SystemExit(f"never came: {what}")


class Way:
    """One row of the table."""

    def __init__(self, name):
        self.name = name

    def begin(self, pid, server=None):
        self.pid, self.server = pid, server
        self.cpu = cpu(pid)
        self.server_cpu = cpu(server.process.pid) if server else 0
        self.at = time.monotonic()

    def end(self, lines):
        seconds = time.monotonic() - self.at
        gigabytes = lines * (len(LINE) + 1) / 1e9
        own = (cpu(self.pid) - self.cpu) / gigabytes
        theirs = f"{(cpu(self.server.process.pid) - self.server_cpu) / gigabytes:8.2f}" if self.server else "       -"
        print(f"{self.name:44} {gigabytes * 1e3 / seconds:7.0f} {lines / seconds / 1e6:8.2f} {own:8.2f} {theirs}", flush=True)
        return own


def python_publisher(port, lines):
    """The least that a program can do: batches that are ready, one in flight, each expected behind the last."""
    client = Client(port)
    a_batch = BATCH_BYTES // (len(LINE) + 1)
    payload, sequence, sent = b"\n".join([LINE] * a_batch), 0, 0
    while sent < lines:
        headers = [(b"Nats-Expected-Last-Subject-Sequence", b"%d" % sequence), (b"Nats-Expected-Stream", b"LOGS")]
        answer = client.request(b"logs.box", payload, headers)
        sequence = answer["seq"]
        sent += a_batch


def nats_py_publisher(port, lines):
    """The NATS project's client for Python, the same batches, each acknowledged before the next."""
    import asyncio

    import nats

    async def publish():
        connection = await nats.connect(f"nats://127.0.0.1:{port}")
        stream = connection.jetstream()
        a_batch = BATCH_BYTES // (len(LINE) + 1)
        payload = b"\n".join([LINE] * a_batch)
        for _ in range(-(-lines // a_batch)):
            await stream.publish("logs.box", payload)
        await connection.close()

    asyncio.run(publish())


def main():
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    binary = os.environ.get("LUMBERJACK", ROOT / "target/release/lumberjack")
    program = os.environ.get("LUMBERJACK_NATS_SERVER") or shutil.which("nats-server")
    if not program or not pathlib.Path(binary).exists():
        raise SystemExit("needed: cargo build --release, and nats-server (.ci/install-clients, . target/ci/env)")
    blocks = max(1, megabytes * 1_000_000 // len(BLOCK))
    lines = blocks * LINES_A_BLOCK
    size = f"{2 * megabytes + 64}MiB"
    print(f"{lines} lines of {len(LINE) + 1} bytes, {lines * 128 / 1e6:.0f} MB; CPU seconds a GB")
    print(f"{'':44} {'MB/s':>7} {'Mlines/s':>8} {'ours':>8} {'server':>8}")
    with tempfile.TemporaryDirectory() as folder:
        measure(pathlib.Path(folder), str(binary), program, blocks, lines, size)


def measure(folder, binary, program, blocks, lines, size):
    def fresh(name):
        path = folder / name
        path.mkdir()
        return path

    def served(name, work):
        path = fresh(name)
        server = Server(program, path)
        try:
            work(path, server)
        finally:
            server.stop()
            shutil.rmtree(path)

    def to_file():
        way, path = Way("ours to a file"), fresh("file")
        ours = Ours(binary, "--output", str(path / "out"))
        way.begin(ours.process.pid)
        ours.take(blocks)
        cost = way.end(lines)
        ours.stop()
        shutil.rmtree(path)
        return cost

    def to_spool():
        """The next receiver is away: nothing but the spool is written."""
        way, path = Way("ours to a spool, nobody reads it"), fresh("spool")
        ours = Ours(binary, "--spool", str(path / "spool"), "--spool-size", size, "--output", f"tcp:127.0.0.1:{free_port()}")
        way.begin(ours.process.pid)
        ours.take(blocks)
        cost = way.end(lines)
        ours.stop()
        shutil.rmtree(path)
        return cost

    def nats(server, *more):
        return ["--output", f"nats://127.0.0.1:{server.port}/logs.box", "--nats-stream", "LOGS", *more]

    def without(path, server):
        way, ours = Way("ours to NATS without a spool"), Ours(binary, *nats(server))
        way.begin(ours.process.pid, server)
        ours.take(blocks)
        wait("the last line", lambda: server.has(lines))
        way.end(lines)
        ours.stop()

    def through(path, server):
        way = Way("ours to NATS through the spool")
        ours = Ours(binary, *nats(server, "--spool", str(path / "spool"), "--spool-size", size))
        way.begin(ours.process.pid, server)
        ours.take(blocks)
        wait("the last line", lambda: server.has(lines))
        way.end(lines)
        ours.stop()

    def drained(path, server):
        """A backlog that an earlier start has left."""
        spool = ["--spool", str(path / "spool"), "--spool-size", size]
        server.process.send_signal(signal.SIGSTOP)
        ours = Ours(binary, *nats(server, *spool))
        ours.take(blocks)
        ours.stop()
        server.process.send_signal(signal.SIGCONT)
        way = Way("ours, a backlog of the spool to NATS")
        ours = Ours(binary, *nats(server, *spool))
        way.begin(ours.process.pid, server)
        wait("the last line", lambda: server.has(lines))
        way.end(lines)
        ours.stop()

    def publisher(name, kind, server):
        way = Way(name)
        child = subprocess.Popen([sys.executable, __file__, kind, str(server.port), str(lines)])
        way.begin(child.pid, server)
        # Its own time ends with it: read before it is reaped.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        way.end(lines)
        child.wait()

    def python(path, server):
        publisher("a publisher in Python, the same batches", "--publish", server)

    def nats_py(path, server):
        if importlib.util.find_spec("nats"):
            publisher("nats-py, the same batches", "--nats-py", server)
        else:
            print("nats-py: this Python does not know it")

    def bench(path, server):
        cli = os.environ.get("LUMBERJACK_NATS_CLI") or shutil.which("nats")
        if not cli:
            print("nats bench: no `nats` is here")
            return
        messages = lines * (len(LINE) + 1) // BATCH_BYTES
        for mode in ("sync", "async"):
            way = Way(f"nats bench js pub {mode}, 256 KiB")
            server.client.api(b"STREAM.PURGE.LOGS")
            command = [cli, "-s", f"nats://127.0.0.1:{server.port}", "bench", "js", "pub", mode, "logs.box", "--stream", "LOGS"]
            command += ["--msgs", str(messages), "--size", str(BATCH_BYTES), "--no-progress"]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            way.begin(child.pid, server)
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            way.end(messages * BATCH_BYTES // (len(LINE) + 1))
            child.wait()

    file_cost, spool_cost = to_file(), to_spool()
    for name, work in [("a", without), ("b", through), ("c", drained), ("d", python), ("e", nats_py), ("f", bench)]:
        served(name, work)
    print(f"the spool takes {spool_cost / file_cost:.2f} of the CPU time that the file takes")


if __name__ == "__main__":
    publishers = {"--publish": python_publisher, "--nats-py": nats_py_publisher}
    if publish := publishers.get(sys.argv[1] if len(sys.argv) > 1 else ""):
        publish(int(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
