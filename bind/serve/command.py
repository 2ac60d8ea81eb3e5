"""The service as a command: `bindspace serve run=PATH index=INDEX`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bind.bridge.bridge import Bridge
from bind.bridge.gap import read_remedies, require_choice
from bind.evaluation.embed import best_device
from bind.model.binder import Binder
from bind.runs.directory import as_list, open_run, run_or_binder
from bind.search.index import Index
from bind.serve.limits import Limits

DRAIN_SECONDS = 30
SWITCH_SECONDS = 0.0005
LOCAL_ADDRESSES = ("127.0.0.1", "::1", "localhost")


def serve(cfg: DictConfig) -> None:
    """Serve a binder, and an index of it, until a signal comes; requests that are being served then are answered.

    Raises:
        ValueError: for a binder, an index, a port or limits that can't be used, or where the extra is missing.
    """
    try:
        import uvicorn

        from bind.serve.app import create_app
        from bind.serve.server import Server, open_socket
    except ImportError as error:
        raise ValueError(f'bindspace serve needs {error.name}: pip install "bindspace[serve]"') from error
    if not isinstance(cfg.port, int) or not 0 <= cfg.port < 2**16:
        raise ValueError(f"port={cfg.port}: give a number from 1 to 65535")
    host, token = str(cfg.host), None if cfg.token is None else str(cfg.token)
    if token is not None and (len(token) < 8 or not token.isascii() or not token.isprintable()):
        raise ValueError("token=: give at least 8 letters, digits or signs of ASCII")
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    default_gap, gap_of_modality = read_remedies(plain["gap"])
    limits = read_limits(plain["limits"])
    opened = open_socket(host, cfg.port)  # before what takes long
    with opened:
        index, run_dir = None, None
        label_sets: dict[str, Any] = {}
        if cfg.index is not None:
            index = Index.open(Path(cfg.index), trust=as_list(cfg.trust), approximate=cfg.approximate)
        if cfg.run is None and cfg.binder is None and index is not None:
            binder = index.binder
        elif run_or_binder(cfg) == "binder":
            binder = Binder.load(cfg.binder, trust=as_list(cfg.trust))
        else:
            run_dir, run_config = open_run(cfg.run)
            label_sets = run_config["data"].get("zero_shot") or {}
            binder = Binder.load(run_dir, trust=as_list(cfg.trust))
        binder.to(best_device())
        require_choice(gap_of_modality, binder.modalities)
        bridge = None if cfg.bridge is None else Bridge.load(Path(cfg.bridge), binder)
        of_all = {} if default_gap is None else dict.fromkeys(binder.modalities, default_gap)
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
            gap=of_all | gap_of_modality,
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


def read_limits(values: Any) -> Limits:
    """The limits of a config.

    Raises:
        ValueError: for a limit that there is not, or that is no number above 0.
    """
    kinds = {name: type(getattr(Limits(), name)) for name in Limits.__dataclass_fields__}
    for name, value in values.items():
        if name not in kinds:
            raise ValueError(f"limits.{name}: there is no such limit; there are {', '.join(kinds)}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or (kinds[name] is int and value != int(value)):
            raise ValueError(f"limits.{name}={value}: give a number above 0")
    return Limits(**{name: kinds[name](value) for name, value in values.items()})
