"""Sends a file over TLS, and ends: python3 tls_client.py PORT FILE close|unwrap|half CA CERT KEY.

`close` says nothing before it closes, `unwrap` says that it ends and waits for the other side's end, `half` only shuts the socket
down for writing, and reads to the end."""

import socket
import ssl
import sys

port, path, end, ca, cert, key = sys.argv[1:7]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
plain = socket.create_connection(("127.0.0.1", int(port)))
connection = context.wrap_socket(plain, server_hostname="localhost")
with open(path, "rb") as lines:
    connection.sendall(lines.read())
if end == "unwrap":
    connection.unwrap().close()
elif end == "half":
    connection.shutdown(socket.SHUT_WR)
    try:
        while plain.recv(1024):
            pass
    except OSError:
        pass
else:
    connection.close()
