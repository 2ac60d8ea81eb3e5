"""The command: what can't be served is refused before anything is loaded."""

import asyncio
import re
import socket

import pytest
from omegaconf import OmegaConf

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from bind.commands.checkout import CONFIG_DIR
from bind.serve.command import serve
from bind.serve.limits import Limits
from bind.serve.sockets import open_socket

CONFIG = OmegaConf.load(CONFIG_DIR / "serve.yaml")
del CONFIG["defaults"], CONFIG["hydra"]


def test_the_limits_of_the_config_are_those_of_the_service():
    assert Limits(**CONFIG.limits) == Limits()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "pass either run=PATH"),
        ({"run": "nowhere"}, "run=nowhere: no config.yaml there"),
        ({"index": "nowhere"}, "nowhere"),
        ({"port": 70_000}, "port=70000: give a number"),
        ({"port": "http"}, "port=http: give a number"),
        ({"host": "203.0.113.1"}, "host=203.0.113.1 port=0: can't be served"),
        ({"host": "no such host"}, "can't be served"),
        ({"token": "short"}, "at least 8"),
        ({"token": "with a\nline of its own"}, "at least 8"),
        ({"limits": {"max_bytes": 0}}, "limits.max_bytes=0: give a number above 0"),
        ({"limits": {"max_bytes": "all"}}, "limits.max_bytes=all"),
        ({"limits": {"max_items": 1.5}}, "limits.max_items=1.5"),
        ({"limits": {"max_kilobytes": 5}}, "limits.max_kilobytes: there is no such limit"),
    ],
)
def test_what_can_not_be_served_says_why(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        serve(OmegaConf.merge(CONFIG, {"port": 0}, options))


def test_an_address_that_is_taken_is_refused():
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port={port}: can't be served"):
            open_socket("127.0.0.1", port)
    assert isinstance(taken, socket.socket)


def test_answers_are_sent_at_once():
    """An answer is written in pieces: without TCP_NODELAY the last one waits 40 ms for the client's acknowledgement."""

    async def option():
        accepted = asyncio.get_running_loop().create_future()
        with open_socket("127.0.0.1", 0) as opened:
            server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=opened)
            async with server:
                _, client = await asyncio.open_connection(*opened.getsockname())
                writer = await accepted
                value = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                for stream in (writer, client):
                    stream.close()
                    await stream.wait_closed()
        return value

    assert asyncio.run(option())
