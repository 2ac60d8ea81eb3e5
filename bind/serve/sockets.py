"""Socket that a service listens at."""

from __future__ import annotations

import socket


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens at an address.

    Raises:
        ValueError: where the address is not of this machine, or taken.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.create_server((host, port), family=family, backlog=1024)
        # Named as TCP, which asyncio asks for before it sends at once: else the end of an answer waits 40 ms.
        return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=made.detach())
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"host={host} port={port}: can't be served ({reason}); choose another address") from error
