"""`best.ckpt`, known again where the run directory has been moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which forgets its best score where its folder has another name than before."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(str(self.dirpath))

        def moved(path: str) -> str:
            return str(here / Path(path).name) if (here / Path(path).name).is_file() else path

        best = moved(state_dict["best_model_path"])
        if Path(best).parent == here:
            paths = {name: moved(state_dict[name]) for name in ("kth_best_model_path", "last_model_path")}
            scores = {moved(path): score for path, score in state_dict["best_k_models"].items()}
            state_dict = (
                state_dict | paths | {"dirpath": self.dirpath, "best_model_path": best, "best_k_models": scores}
            )
        super().load_state_dict(state_dict)
