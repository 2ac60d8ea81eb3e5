"""The service as a command: `bindspace serve run=PATH index=INDEX`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from bind.bridge.bridge import Bridge
from bind.bridge.remedies import require_choice
from bind.model.binder import Binder
from bind.model.device import best_device
from bind.runs.run_config import as_list, open_run
from bind.search.index import Index
from bind.serve.arguments import read_arguments

DRAIN_SECONDS = 30
SWITCH_SECONDS = 0.0005
LOCAL_ADDRESSES = ("127.0.0.1", "::1", "localhost")


def serve(cfg: DictConfig) -> None:
    """Serve a binder, and an index of it, until a signal comes; requests that are being served then are answered.

    Raises:
        ValueError: for a binder, an index, a port or limits that can't be used, or where the extra is missing.
    """
    read = read_arguments(cfg)
    import uvicorn

    from bind.serve.app import create_app
    from bind.serve.server import Server
    from bind.serve.sockets import open_socket

    host, token, limits = read.host, read.token, read.limits
    opened = open_socket(host, cfg.port)  # before what takes long
    with opened:
        index, run_dir = None, None
        label_sets: dict[str, Any] = {}
        if cfg.index is not None:
            index = Index.open(Path(cfg.index), trust=as_list(cfg.trust), approximate=cfg.approximate)
        if read.place is None:
            assert index is not None
            binder = index.binder
        else:
            binder = Binder.load(read.place, trust=as_list(cfg.trust))
        if cfg.run is not None:
            run_dir, run_config = open_run(cfg.run)
            label_sets = run_config["data"].get("zero_shot") or {}
        binder.to(best_device())
        require_choice(read.gap_of_modality, binder.modalities)
        bridge = None if cfg.bridge is None else Bridge.load(Path(cfg.bridge), binder)
        of_all = {} if read.gap is None else dict.fromkeys(binder.modalities, read.gap)
        is_local = host in LOCAL_ADDRESSES
        app = create_app(
            binder,
            index,
            limits=limits,
            token=token,
            only_local=is_local,
            run_dir=run_dir,
            label_sets=label_sets,
            bridge=bridge,
            gap=of_all | dict(read.gap_of_modality),
        )
        config = uvicorn.Config(
            app,
            host=host,
            port=cfg.port,
            log_level="warning",
            timeout_graceful_shutdown=DRAIN_SECONDS,
            timeout_keep_alive=5,
            ws_max_size=max(limits.max_stream_bytes, 4 * limits.max_text_characters),
            ws_per_message_deflate=False,  # a small message could be a large one
            server_header=False,
        )
        server = Server(config, f"#token={token}" if token else "")
        if not is_local and token is None:
            print(f"warning: whoever reaches {host}:{cfg.port} may use this service; token=… asks for a token")
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises it again at its end, which is no error
            signal.signal(number, lambda *_: None)
        # The model's thread asks for the interpreter at each operation; by itself it waits 5 ms for one that answers.
        sys.setswitchinterval(SWITCH_SECONDS)
        server.run([opened])
    print("all requests are answered", flush=True)
