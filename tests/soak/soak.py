"""Runs the binary among its clients (`clients.py`), reads its output (`checker.py`) and its log, and says how it went.
`tests/soak.sh` starts it. Invariant: however it ends, the binary ends before, by its own process handle."""

import asyncio
import collections
import ctypes
import os
import re
import signal
import subprocess
import sys
import time

from checker import Checker
from clients import STEADY_HOST, Clients

MEMORY = 1024 * 1024
ARGUMENTS = (
    "--listen 127.0.0.1:0 --memory 1MiB --max-buffer 256KiB --max-connections 150 --max-per-host 40 --idle-timeout 2s"
    " --linger 20s"
).split()
# Once a minute nobody reads the output for a while, so that back-pressure is met.
STALL_AT, STALL_SECONDS = 55, 3
# What the output may be behind: a line that is missing longer after its client left is late.
LATE_SECONDS = 20
RSS_SLACK, RSS_SLACK_SHARE = 256 * 1024, 0.05
# Beside `--memory`, over what is held at rest: connections, code that is used only then, what the allocator keeps.
RSS_BESIDE = 1024 * 1024
# What the log calls it, in a warning and where it says how many were suppressed; and what we call it.
KINDS = (
    ("goodbyes", "Socket timeout", "Socket timeout"),
    ("memory", "Memory budget used up", "memory budget"),
    ("overflows", "Buffer overflow", "Buffer overflow"),
    ("refused", "connections already, rejecting", "host limit"),
    ("full", "Connection limit reached", "connection limit"),
    ("protocols", "seems to speak", "other protocol"),
)


PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def die_with_the_parent() -> None:
    """In the child: who kills the soak kills the binary too."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Receiver:
    """The running binary, and what it says."""

    def __init__(self, binary):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # A session of its own: Ctrl-C is for us, who then stop it.
        self.process = subprocess.Popen(
            [binary, *ARGUMENTS], start_new_session=True, bufsize=0, preexec_fn=die_with_the_parent, **pipes
        )
        self.pid = self.process.pid
        self.counts = collections.Counter({name: 0 for name, _, _ in KINDS})
        self.tail = collections.deque(maxlen=40)
        self.unfinished = b""
        self.port = None
        self.is_up = False

    def log(self, chunk: bytes) -> None:
        lines = (self.unfinished + chunk).split(b"\n")
        self.unfinished = lines.pop()
        for line in lines:
            self.log_line(line.decode(errors="replace"))

    def log_line(self, line: str) -> None:
        self.tail.append(line)
        if found := re.search(r"Listening on 127\.0\.0\.1:(\d+)", line):
            self.port = int(found[1])
        self.is_up |= "Memory budget 1MiB, at most" in line
        suppressed = re.search(r"(\d+) similar suppressed \((.*)\)", line)
        for name, warning, kind in KINDS:
            if suppressed and suppressed[2] == kind:
                self.counts[name] += int(suppressed[1])
            elif not suppressed and warning in line:
                self.counts[name] += 1

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss(self) -> int:
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Soak:
    def __init__(self, loop, binary, minutes):
        self.loop, self.minutes = loop, minutes
        self.checker = Checker()
        self.receiver = Receiver(binary)
        self.rss = []
        self.clients = None
        self.base = None
        self.rss_at_rest = None
        self.verdicts = []
        self.open_pipes = set()
        process = self.receiver.process
        for pipe, take in ((process.stdout, self.checker.feed), (process.stderr, self.receiver.log)):
            os.set_blocking(pipe.fileno(), False)
            self.open_pipes.add(pipe.fileno())
            self.watch(pipe.fileno(), take)

    def watch(self, fd, take) -> None:
        def ready():
            try:
                chunk = os.read(fd, 256 * 1024)
            except BlockingIOError:
                return
            if chunk:
                take(chunk)
            else:
                self.loop.remove_reader(fd)
                self.open_pipes.discard(fd)

        self.loop.add_reader(fd, ready)

    async def until(self, what, seconds, is_so) -> bool:
        deadline = self.loop.time() + seconds
        while not is_so():
            if self.loop.time() > deadline:
                self.judge(False, f"{what}: not within {seconds} s")
                return False
            await asyncio.sleep(0.05)
        return True

    def judge(self, is_good, sentence) -> None:
        self.verdicts.append((is_good, sentence))

    async def run(self) -> None:
        receiver = self.receiver
        if not await self.until("the binary listens", 20, lambda: receiver.is_up and receiver.port):
            return
        self.base, self.rss_at_rest = receiver.descriptors(), receiver.rss()
        at_rest = f"{self.base} descriptors and {self.rss_at_rest // 1024} KiB at rest"
        print(f"pid {receiver.pid}, {at_rest}: {' '.join(ARGUMENTS)}", flush=True)
        self.clients = Clients(self.loop, receiver.port, self.checker)
        self.clients.start()
        stalls = self.loop.create_task(self.stall_the_output())
        await self.watch_figures()
        stalls.cancel()
        await asyncio.wait([stalls])
        if receiver.process.poll() is None:
            await self.end()
        else:
            self.judge(False, f"it ended by itself with {receiver.process.returncode}")

    async def stall_the_output(self) -> None:
        fd = self.receiver.process.stdout.fileno()
        while True:
            if STALL_AT <= self.clients.second() < STALL_AT + 1:
                self.loop.remove_reader(fd)
                try:
                    await asyncio.sleep(STALL_SECONDS)
                finally:
                    self.watch(fd, self.checker.feed)
            await asyncio.sleep(0.5)

    async def watch_figures(self) -> None:
        """A sample a second, a line a minute."""
        for second in range(1, self.minutes * 60 + 1):
            # By the clock, so that late wake-ups do not add up.
            await asyncio.sleep(max(0.0, self.clients.began + second - self.loop.time()))
            if self.receiver.process.poll() is not None:
                return
            self.rss.append(self.receiver.rss())
            if second % 60 == 0:
                self.show_figures(second // 60)

    def show_figures(self, minute) -> None:
        checker, receiver = self.checker, self.receiver
        descriptors = receiver.descriptors()
        last_minute = self.rss[-60:]
        mean = sum(last_minute) // len(last_minute)
        counts = " ".join(f"{name} {count}" for name, count in receiver.counts.items())
        print(
            f"{time.strftime('%H:%M:%S')} minute {minute} of {self.minutes}: connections {descriptors - self.base} now,"
            f" {self.clients.opened} in all | descriptors {descriptors} | rss {mean // 1024} KiB,"
            f" at most {max(last_minute) // 1024} | cpu {receiver.cpu_seconds():.1f} s | lines {checker.lines} honest,"
            f" {checker.foreign_lines} others, {checker.bytes // 1_000_000} MB | lost {checker.lost},"
            f" late {checker.late(self.loop.time(), LATE_SECONDS)}, faults {checker.faults} | {counts}",
            flush=True,
        )

    async def end(self) -> None:
        receiver = self.receiver
        await self.clients.stop()
        if await self.until("no client is left", 30, lambda: receiver.descriptors() <= self.base):
            self.judge(True, "no client is left")
        left = receiver.descriptors()
        self.judge(left == self.base, f"{left} descriptors after {self.clients.opened} connections, {self.base} before")
        last = []
        for _ in range(10):
            stream = self.checker.open_stream()
            sock = await self.clients.connect(STEADY_HOST)
            await self.clients.send(sock, self.clients.block(stream, 3))
            last.append(self.clients.leave_with_the_server(stream, sock))
        receiver.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*last)
        ended = await self.until("the end", 20, lambda: receiver.process.poll() is not None)
        if ended:
            code = receiver.process.returncode
            self.judge(code == 0, f"exit code {code}")
        # What it wrote before it ended is still in the pipes.
        await self.until("both pipes are read to their end", 20, lambda: not self.open_pipes)

    def conclude(self) -> bool:
        checker, counts = self.checker, self.receiver.counts
        checker.finish()
        is_whole = checker.lost == 0 and checker.faults == 0 and checker.lines > 0
        lines = f"{checker.lines} honest lines of {checker.opened} connections"
        self.judge(is_whole, f"{lines}: {checker.lost} lost, {checker.faults} faults")
        for error in checker.errors:
            self.judge(False, error)
        self.judge_rss()
        for name, count in counts.items():
            doubt = "" if count else "; this limit was not met, so nothing is known of it"
            self.judge(count > 0, f"{name}: {count}{doubt}")
        self.judge(not any("panicked" in line for line in self.receiver.tail), "no panic")
        for is_good, sentence in self.verdicts:
            print("ok  " if is_good else "BAD ", sentence)
        is_good = all(is_good for is_good, _ in self.verdicts)
        if not is_good:
            print("the end of its log:", *self.receiver.tail, sep="\n  ")
        print("soak: it held" if is_good else "soak: it did not hold", flush=True)
        return is_good

    def judge_rss(self) -> None:
        third = len(self.rss) // 3
        if third == 0:
            return self.judge(False, "too few samples of memory")
        middle = sum(self.rss[third : 2 * third]) / third
        last = sum(self.rss[-third:]) / third
        slack = max(RSS_SLACK, middle * RSS_SLACK_SHARE)
        thirds = f"{middle / 1024:.0f} KiB in the middle third, {last / 1024:.0f} in the last"
        self.judge(last - middle <= slack, f"memory: {thirds}")
        bound = self.rss_at_rest + MEMORY + RSS_BESIDE
        self.judge(max(self.rss) <= bound, f"memory: {max(self.rss) // 1024} KiB at most, of {bound // 1024}")

    def stop(self) -> None:
        process = self.receiver.process
        if process.poll() is None:
            process.kill()
        process.wait()


async def main(binary, minutes) -> int:
    loop = asyncio.get_running_loop()
    us = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, us.cancel)
    soak = Soak(loop, binary, minutes)
    try:
        await soak.run()
    except asyncio.CancelledError:
        print("soak: broken off", flush=True)
        return 1
    finally:
        soak.stop()
    return 0 if soak.conclude() else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]))))
