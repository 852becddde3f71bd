"""Logs each line of a file through graypy, as GELF: python3 graypy_client.py tcp|udp PORT FILE."""

import logging
import sys

import graypy

kind, port, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
handler = {
    "tcp": lambda: graypy.GELFTCPHandler("127.0.0.1", port),
    # As it comes it compresses each message.
    "udp": lambda: graypy.GELFUDPHandler("127.0.0.1", port, compress=False),
    "zlib": lambda: graypy.GELFUDPHandler("127.0.0.1", port),
}[kind]()
logging.basicConfig(level=logging.INFO, handlers=[handler], format="%(message)s")
with open(path, encoding="utf-8") as lines:
    for line in lines:
        logging.info("%s", line.rstrip("\n"))
logging.shutdown()
