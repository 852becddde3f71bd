#!/usr/bin/env python3
"""What TLS costs, beside others, in one run on this machine: processor time for a gigabyte of lines (ours with TLS and without, ours
behind stunnel, rsyslog with GnuTLS), handshakes for a second of processor (ours and nginx's), memory of an idle connection, and the
delay of a client's lines beside handshakes.

    benches/tls.py [MEGABYTES]      512, unless said

Needs a release build with TLS (`cargo build --release --features tls`, or the binary that LUMBERJACK names), openssl, and what
`.ci/install-clients` unpacks: stunnel, rsyslog and nginx. Who is missing is left out, and said."""

import glob
import multiprocessing
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ.get("LUMBERJACK", str(ROOT / "target/release/lumberjack"))
CERTS = ROOT / "tests/certs"
PEERS = pathlib.Path(os.environ.get("LUMBERJACK_PEERS", ROOT / "target/ci/peers"))
LINE = b"2026-01-01T00:00:00.000Z box app[123]: a line of 128 bytes, as they are in most logs, with a number: 0123456789, and more, to 128.\n"
LINE = LINE[:127] + b"\n"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def peer(name):
    """A program that is unpacked or installed, and its environment."""
    found = [path for place in ("usr/bin", "usr/sbin") if (path := PEERS / place / name).is_file()]
    env = dict(os.environ)
    if found:
        env["LD_LIBRARY_PATH"] = ":".join(glob.glob(f"{PEERS}/usr/lib/*-linux-*") + glob.glob(f"{PEERS}/lib/*-linux-*"))
        return str(found[0]), env
    for place in ("/usr/bin", "/usr/sbin"):
        if (path := pathlib.Path(place) / name).is_file():
            return str(path), env
    return None, env


class Program:
    """A process that listens at a port, and what it costs."""

    def __init__(self, args, port, env=None, tls=True):
        self.port, self.tls = port, tls
        self.process = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=open("/dev/null", "wb"), stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None, f"{args} has ended"
                time.sleep(0.05)
        raise AssertionError(f"{args} does not listen")

    def cpu(self):
        # Of the whole process: a thread that has ended counts too. In ticks of 10 ms.
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def ours(*listens, output="-"):
    args = [BINARY]
    for listen in listens:
        args += ["--listen", listen]
    return Program([*args, "--output", output, "--max-connections", "4000", "--max-per-host", "0"], int(listens[0].split(",")[0].split(":")[1]))


def with_tls(port):
    return f"127.0.0.1:{port},tls,cert={CERTS}/server.pem,key={CERTS}/server.key"


def context():
    client = ssl.create_default_context(cafile=str(CERTS / "ca.pem"))
    return client


def connect(port, is_tls):
    plain = socket.create_connection(("127.0.0.1", port))
    return context().wrap_socket(plain, server_hostname="localhost") if is_tls else plain


def send(port, is_tls, count):
    connection = connect(port, is_tls)
    block = LINE * 2048
    for _ in range(count // len(block)):
        connection.sendall(block)
    try:
        if is_tls:
            connection = connection.unwrap()
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    except OSError:
        pass


def bulk(name, programs, port, is_tls, megabytes):
    """Processor time of these programs for so many megabytes."""
    count = megabytes << 20
    before, begun = sum(one.cpu() for one in programs), time.monotonic()
    send(port, is_tls, count)
    last = -1.0
    while (now := sum(one.cpu() for one in programs)) != last:
        last = now
        time.sleep(0.5)
    spent = last - before
    took = time.monotonic() - begun - 0.5
    print(f"| {name} | {spent / count * 1e9:.2f} | {count / took / 1e6:,.0f} |", flush=True)


def bulks(megabytes, folder):
    print("\n| lines of 128 bytes, one connection | CPU s/GB | MB/s |\n| --- | --- | --- |")
    port = free_port()
    program = ours(f"127.0.0.1:{port}")
    bulk("ours, plain", [program], port, False, megabytes)
    program.stop()
    port = free_port()
    program = ours(with_tls(port))
    bulk("ours, TLS 1.3", [program], port, True, megabytes)
    program.stop()
    stunnel, env = peer("stunnel4")
    if stunnel:
        port, behind = free_port(), free_port()
        config = folder / "stunnel.conf"
        config.write_text(
            f"foreground = yes\npid =\nsyslog = no\n[lines]\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{behind}\n"
            f"cert = {CERTS}/server.pem\nkey = {CERTS}/server.key\n"
        )
        programs = [ours(f"127.0.0.1:{behind}"), Program([stunnel, str(config)], port, env)]
        bulk("ours, plain, behind stunnel", programs, port, True, megabytes)
        for program in programs:
            program.stop()
    else:
        print("left out: stunnel4 is not here")
    rsyslogd, env = peer("rsyslogd")
    modules = glob.glob(f"{PEERS}/usr/lib/*/rsyslog") or glob.glob("/usr/lib/*/rsyslog")
    if rsyslogd and modules and (pathlib.Path(modules[0]) / "lmnsd_gtls.so").exists():
        port = free_port()
        config = folder / "rsyslog.conf"
        config.write_text(
            f'global(workDirectory="{folder}" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{CERTS}/ca.pem"'
            f' defaultNetstreamDriverCertFile="{CERTS}/server.pem" defaultNetstreamDriverKeyFile="{CERTS}/server.key")\n'
            'module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")\n'
            'template(name="line" type="string" string="%rawmsg%\\n")\n'
            f'input(type="imtcp" address="127.0.0.1" port="{port}")\naction(type="omfile" file="/dev/null" template="line")\n'
        )
        program = Program([rsyslogd, "-n", "-f", str(config), "-i", str(folder / "pid"), "-M", modules[0]], port, env)
        bulk("rsyslog, GnuTLS", [program], port, True, megabytes // 8)
        program.stop()
    else:
        print("left out: rsyslogd with gtls is not here")


def shake(port, seconds, count, pause):
    end = time.monotonic() + seconds
    client = context()
    while time.monotonic() < end:
        try:
            plain = socket.create_connection(("127.0.0.1", port))
            client.wrap_socket(plain, server_hostname="localhost").close()
            with count.get_lock():
                count.value += 1
        except OSError:
            pass
        time.sleep(pause)


def shakers(port, seconds, processes, pause=0.0):
    count = multiprocessing.Value("q", 0)
    running = [multiprocessing.Process(target=shake, args=(port, seconds, count, pause)) for _ in range(processes)]
    for one in running:
        one.start()
    return count, running


def handshakes(folder):
    print("\n| ECDSA P-256, TLS 1.3, each a new one | handshakes for a second of processor |\n| --- | --- |")
    port = free_port()
    programs = [("ours", ours(with_tls(port)), port)]
    nginx, env = peer("nginx")
    if nginx:
        port = free_port()
        config = folder / "nginx.conf"
        temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        config.write_text(
            f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/log; events {{}}\n"
            f"http {{ access_log off; {temporary} ssl_session_tickets off; ssl_session_cache off; ssl_protocols TLSv1.2 TLSv1.3;\n"
            f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {CERTS}/server.pem; ssl_certificate_key {CERTS}/server.key; }} }}\n"
        )
        programs.append(("nginx", Program([nginx, "-c", str(config), "-e", str(folder / "log")], port, env), port))
    else:
        print("left out: nginx is not here")
    for name, program, port in programs:
        before = program.cpu()
        count, running = shakers(port, 6, 2)
        for one in running:
            one.join()
        print(f"| {name} | {count.value / (program.cpu() - before):,.0f} |", flush=True)
        program.stop()


def idle():
    print("\n| 1,000 idle connections | KiB each |\n| --- | --- |")
    for name, is_tls in (("plain", False), ("TLS 1.3", True)):
        port = free_port()
        program = ours(with_tls(port) if is_tls else f"127.0.0.1:{port}")
        # What is there once for all of them.
        first = connect(port, is_tls)
        first.sendall(LINE)
        time.sleep(0.5)
        before = program.rss()
        kept = []
        for _ in range(1000):
            connection = connect(port, is_tls)
            connection.sendall(LINE)
            kept.append(connection)
        time.sleep(1)
        print(f"| {name} | {(program.rss() - before) / 1000:.2f} |", flush=True)
        for connection in kept:
            connection.close()
        first.close()
        program.stop()


def calm():
    print("\n| a client's line to the output and back | p50, us | p99 | longest |\n| --- | --- | --- | --- |")
    for name, rate in (("alone", 0), ("beside 500 handshakes a second", 500)):
        port, secure = free_port(), free_port()
        read, write = os.pipe()
        args = [BINARY, "--listen", f"127.0.0.1:{port}", "--listen", with_tls(secure)]
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.DEVNULL)
        os.close(write)
        time.sleep(0.5)
        running, count = [], None
        if rate:
            # Pauses make it about so many: what came is said.
            count, running = shakers(secure, 9, 2, 2 / rate - 0.0015)
            time.sleep(0.5)
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        delays = []
        end = time.monotonic() + 8
        while time.monotonic() < end:
            sent = time.monotonic()
            client.sendall(b"a line\n")
            assert os.read(read, 4096) == b"a line\n"
            delays.append(time.monotonic() - sent)
            time.sleep(0.003)
        for one in running:
            one.join()
        delays.sort()
        micro = [f"{1e6 * delays[min(len(delays) - 1, int(len(delays) * part))]:,.0f}" for part in (0.5, 0.99, 1)]
        came = f" ({count.value / 9:.0f} came)" if count else ""
        print(f"| {name}{came} | {' | '.join(micro)} |", flush=True)
        client.close()
        process.send_signal(signal.SIGTERM)
        threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 65536), b"")], daemon=True).start()
        process.wait(20)


def main():
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 512
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        bulks(megabytes, folder)
        handshakes(folder)
    idle()
    calm()


if __name__ == "__main__":
    main()
