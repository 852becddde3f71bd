"""A disk of 16 MB that is pulled and put back, aborted, filled and freed, for MINUTES, under load: nothing may be lost that the disk
could hold, and nothing may stand still once the cause is gone. `tests/disk-soak.sh` starts it, as root. Invariant: however it
ends, what it mounted is unmounted, and the binary ends before.

What may be missing is only what was sent shortly before the disk was pulled: a power cut takes what was not synced."""

import fcntl
import glob
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

CLIENTS = 3
# Lines of 100 bytes a second, of all clients: 200 KB, so that a file of 1 MiB is full every five seconds.
RATE = 2000
# `--sync interval` is a second; what is on its way to the file then, and how late a busy machine is.
UNSYNCED_SECONDS = 4
# After the cause is gone: the longest pause between two tries is five seconds.
COMES_BACK_SECONDS = 20
# ext4's ioctl that shuts a file system down as a pulled device does, without writing its log (EXT4_IOC_SHUTDOWN).
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Disk:
    def __init__(self, home):
        self.home, self.count = home, 0
        self.image, self.at = home + "/disk.img", home + "/disk"
        os.mkdir(self.at)
        # What is written while nothing is mounted lies below the mount afterwards: only who has the directory open sees it.
        self.bare = os.open(self.at, os.O_RDONLY)
        with open(self.image, "wb") as image:
            image.truncate(16 << 20)
        run("mkfs.ext4", "-qF", self.image)
        run("mount", "-o", "loop", self.image, self.at)

    def pull(self):
        folder = os.open(self.at, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(folder)

    def abort(self):
        """Every write says that the file system is read-only from now on."""
        subprocess.run(["mount", "-o", "remount,abort", self.at], stderr=subprocess.DEVNULL)

    def put_back(self):
        run("umount", "-l", self.at)
        # As another device: the kernel would find the dead one again, for as long as somebody has a file of it open.
        before, self.count = self.image, self.count + 1
        self.image = self.home + f"/disk{self.count}.img"
        shutil.copyfile(before, self.image)
        os.remove(before)
        subprocess.run(["e2fsck", "-fy", self.image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run("mount", "-o", "loop", self.image, self.at)


class Client(threading.Thread):
    """Sends numbered lines; remembers when each hundredth went."""

    def __init__(self, number, port):
        super().__init__(daemon=True)
        self.number, self.sent, self.times, self.stopping = number, 0, [], False
        self.socket = socket.create_connection(("127.0.0.1", port))

    def run(self):
        begun, base = time.monotonic(), 0
        while not self.stopping:
            if self.sent % 100 == 0:
                self.times.append(time.monotonic())
            head = b"%d:%09d:" % (self.number, self.sent)
            self.socket.sendall(head + b"x" * (99 - len(head)) + b"\n")
            self.sent += 1
            ahead = (self.sent - base) * CLIENTS / RATE - (time.monotonic() - begun)
            if ahead > 0:
                time.sleep(ahead)
            elif ahead < -1:
                # It was held up: no hurry to make up for it.
                begun, base = time.monotonic(), self.sent

    def time_of(self, number):
        return self.times[min(number // 100, len(self.times) - 1)]


class Follower(threading.Thread):
    """Reads each file as it comes, by its inode; after the disk was put back, all of them again."""

    def __init__(self, disk):
        super().__init__(daemon=True)
        self.disk, self.lock, self.stopping = disk, threading.Lock(), False
        self.seen = [set() for _ in range(CLIENTS)]
        self.count, self.torn, self.doubled = 0, 0, 0
        self.files, self.in_this_pass = {}, set()

    def forget(self):
        """Whoever calls it has the lock."""
        for file, _ in self.files.values():
            file.close()
        self.files, self.in_this_pass = {}, set()

    def run(self):
        while not self.stopping:
            self.look()
            time.sleep(0.02)

    def look(self):
        with self.lock:
            for folder in (f"/proc/self/fd/{self.disk.bare}", self.disk.at):
                try:
                    self.find(folder)
                except OSError:
                    pass  # The disk is away, or a file was renamed.
            for key, entry in list(self.files.items()):
                try:
                    self.read(entry)
                    # By its names, and not by whether one was found: while files are renamed, one may be passed over.
                    if os.fstat(entry[0].fileno()).st_nlink == 0:
                        self.read(entry)
                        entry[0].close()
                        del self.files[key]
                except OSError:
                    pass  # The disk is away.

    def find(self, folder):
        """Opens what is new in a folder."""
        # The oldest first, and each before what comes next to it is removed.
        for name in sorted(glob.glob(folder + "/app.log*"), key=lambda name: -int((name.rsplit(".", 1)[1:] or ["0"])[0]) if name[-1].isdigit() else 0):
            if name.endswith(".new"):
                continue
            # What is open is asked who it is: the name may lead to another file by then.
            file = open(name, "rb", buffering=0)
            found = os.fstat(file.fileno())
            key = (found.st_dev, found.st_ino)
            if key in self.files:
                file.close()
            else:
                self.files[key] = [file, b""]

    def read(self, entry):
        while block := entry[0].read(1 << 16):
            lines = (entry[1] + block).split(b"\n")
            entry[1] = lines.pop()
            for line in lines:
                match = re.fullmatch(rb"(\d):(\d{9}):x+", line)
                if not match or len(line) != 99:
                    self.torn += line != b""
                    continue
                client, number = int(match[1]), int(match[2])
                self.doubled += (client, number) in self.in_this_pass
                self.in_this_pass.add((client, number))
                self.seen[client].add(number)
                self.count += 1


def main(binary, minutes):
    home = tempfile.mkdtemp(prefix="lumberjack-disk-")
    disk, said = Disk(home), open(home + "/said", "w+")
    arguments = ["--listen", "127.0.0.1:0", "--output", disk.at + "/app.log", "--rotate-size", "1MiB", "--rotate-keep", "4", "--sync", "interval"]
    process = subprocess.Popen([binary, *arguments], stderr=said)
    pulled, faults, events = [], [], {"pull": 0, "abort": 0, "fill": 0, "signal": 0}
    try:
        deadline = time.monotonic() + 10
        while not (match := re.search(r"127\.0\.0\.1:(\d+)", open(home + "/said").read())):
            assert time.monotonic() < deadline, "it does not listen"
            time.sleep(0.05)
        follower = Follower(disk)
        follower.start()
        clients = [Client(number, int(match[1])) for number in range(CLIENTS)]
        [client.start() for client in clients]

        def flows(what):
            """Lines come again, soon."""
            before, deadline = follower.count, time.monotonic() + COMES_BACK_SECONDS
            while follower.count < before + 100:
                if time.monotonic() > deadline:
                    faults.append(f"{what}: nothing came for {COMES_BACK_SECONDS} s after the cause was gone")
                    return
                time.sleep(0.05)

        end = time.monotonic() + minutes * 60
        dice = random.Random(int(os.environ.get("SEED", "1")))
        while time.monotonic() < end and not faults and process.poll() is None:
            time.sleep(dice.uniform(2, 6))
            event = dice.choice(list(events))
            events[event] += 1
            if event in ("pull", "abort"):
                begun = time.monotonic()
                disk.pull() if event == "pull" else disk.abort()
                time.sleep(dice.uniform(0.1, 4))
                # No look between the two: it would count what it reads again as doubled.
                with follower.lock:
                    disk.put_back()
                    follower.forget()
                pulled.append((begun - UNSYNCED_SECONDS, time.monotonic() + 1))
            elif event == "fill":
                with open(disk.at + "/ballast", "wb", buffering=0) as ballast:
                    try:
                        while True:
                            ballast.write(b"b" * 65536)
                    except OSError:
                        pass
                time.sleep(dice.uniform(0.5, 5))
                os.remove(disk.at + "/ballast")
            else:
                process.send_signal(signal.SIGHUP)
            flows(event)
        for client in clients:
            client.stopping = True
        [client.join(30) for client in clients]
        [client.socket.close() for client in clients]
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        time.sleep(0.5)
        follower.look()
        follower.stopping = True
        missing = [(client, number) for client in clients for number in range(client.sent) if number not in follower.seen[client.number]]
        excused = [entry for entry in missing if any(begun <= entry[0].time_of(entry[1]) <= until for begun, until in pulled)]
        sent = sum(client.sent for client in clients)
        print(f"{events}: {sent} lines sent, {len(missing)} missing, {len(excused)} of them sent within {UNSYNCED_SECONDS} s before the disk was pulled or until it was back; {follower.doubled} doubled, {follower.torn} torn; exit {code}")
        if len(missing) > len(excused):
            faults.append(f"{len(missing) - len(excused)} lines are missing that the disk could hold")
        if follower.doubled or code != 0:
            faults.append("lines came twice" if follower.doubled else f"exit {code}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        subprocess.run(["umount", "-l", disk.at], stderr=subprocess.DEVNULL)
        tail = open(home + "/said").read().splitlines()[-15:]
        shutil.rmtree(home, ignore_errors=True)
    if faults:
        print("\n".join(tail + faults))
        return 1
    print("it held")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
