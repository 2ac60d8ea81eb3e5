"""What a process of a training was really told, from inside of it."""

import json
import os
from pathlib import Path
from typing import Any

import lightning as L


class WriteConfig(L.Callback):
    """Writes `config` as this process resolved it to `config_of_rank<rank>.json` in `folder`."""

    KEYS = ("seed", "run_dir", "optimizer", "loss", "pairs", "encoder", "transform", "data", "trainer")

    def __init__(self, folder: str, config: dict[str, Any]) -> None:
        self.folder = Path(folder)
        self.config = config

    def on_fit_start(self, trainer: L.Trainer, *args: Any) -> None:
        assert trainer.global_rank == int(os.environ["LOCAL_RANK"])
        path = self.folder / f"config_of_rank{trainer.global_rank}.json"
        path.write_text(json.dumps(self.config))

    @classmethod
    def override(cls) -> str:
        """The argument that adds it to a training."""
        parts = ",".join(f"{key}:${{{key}}}" for key in cls.KEYS)
        return f"+callbacks.rank_config={{_target_:{__name__}.{cls.__name__},folder:${{run_dir}},config:{{{parts}}}}}"


def written(run_dir: Path) -> list[dict[str, Any]]:
    """The configs of a run's processes, by rank."""
    return [json.loads(path.read_text()) for path in sorted(run_dir.glob("config_of_rank*.json"))]
