"""The server: uvicorn's, which says where it is once it is there."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn


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


class Server(uvicorn.Server):
    """A server that prints its address.

    Args:
        config: of uvicorn.
        fragment: is printed behind the address, such as `#token=…`.
    """

    def __init__(self, config: uvicorn.Config, fragment: str = "") -> None:
        super().__init__(config)
        self.fragment = fragment

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        addresses: list[Any] = [s.getsockname() for server in getattr(self, "servers", ()) for s in server.sockets]
        for host, port, *_ in addresses if self.started else ():
            shown = f"[{host}]" if ":" in host else host
            print(f"serving on http://{shown}:{port}/{self.fragment} (Ctrl-C ends it)", flush=True)
