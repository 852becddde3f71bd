"""Logs each line of a file: python3 logging_client.py socket|syslog|udp|pickle|nul|gzip PORT FILE PAUSE_MS.

The last three send what is no line, as Python's own handlers do."""

import gzip
import logging
import logging.handlers
import socket
import sys
import time


class LineHandler(logging.handlers.SocketHandler):
    """SocketHandler sends pickles; this one sends lines. What it can't send, it tries to send again later."""

    def makePickle(self, record):
        return (self.format(record) + "\n").encode()


def syslog_handler(port):
    """SysLogHandler over TCP ends a message with a NUL; here it ends with a newline."""
    handler = logging.handlers.SysLogHandler(("127.0.0.1", port), socktype=socket.SOCK_STREAM)
    handler.append_nul = False
    handler.setFormatter(logging.Formatter("%(message)s\n"))
    return handler


kind, port, path, pause_s = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]) / 1000
if kind == "gzip":
    with socket.create_connection(("127.0.0.1", port)) as connection, open(path, "rb") as lines:
        connection.sendall(gzip.compress(lines.read()))
    sys.exit()
handler = {
    "socket": lambda: LineHandler("127.0.0.1", port),
    "syslog": lambda: syslog_handler(port),
    "udp": lambda: logging.handlers.SysLogHandler(("127.0.0.1", port)),
    "pickle": lambda: logging.handlers.SocketHandler("127.0.0.1", port),
    "nul": lambda: logging.handlers.SysLogHandler(("127.0.0.1", port), socktype=socket.SOCK_STREAM),
}[kind]()
logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(message)s")
with open(path, encoding="utf-8") as lines:
    for line in lines:
        logging.info("%s", line.rstrip("\n"))
        time.sleep(pause_s)
logging.shutdown()
