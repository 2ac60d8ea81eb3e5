"""The server: uvicorn's, which says where it is once it is there."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn


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
