"""Fails any name look-up or connection that leaves this machine, in this and every child process.

    PYTHONPATH=tests/guard make align

Python imports a ``sitecustomize`` it finds on its path at start. An audit hook cannot be taken out
again, and sees the sockets of every library. What it stopped also goes to the file that
``NETWORK_GUARD_LOG`` names, because a library may swallow the error.
"""

import ipaddress
import os
import socket
import sys
from pathlib import Path

# The machine's own name too: torch's launcher looks it up to meet its workers.
LOCAL_NAMES = {"localhost", "", None, "127.0.0.1", "::1", "0.0.0.0", socket.gethostname()}


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


def _guard(event: str, arguments: tuple) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        if not isinstance(address, tuple):  # a Unix socket's path, or none
            return
        host = address[0]
    else:
        return
    if not _is_local(host):
        log = os.environ.get("NETWORK_GUARD_LOG")
        if log:
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(f"{event} {host} in {sys.argv}\n")
        raise RuntimeError(f"network guard: {event} to {host!r} leaves this machine")


sys.addaudithook(_guard)
