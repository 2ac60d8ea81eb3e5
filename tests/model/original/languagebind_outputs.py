"""Outputs of LanguageBind's own classes on random weights, as `languagebind.safetensors` beside this file has them.

Not run by any test, since the package needs transformers 4 (and its processors decord, OpenCV and pytorchvideo, which
are left out here). In an environment with `languagebind==0.1.0 transformers==4.40.2 peft==0.11.1`:

    python tests/model/original/languagebind_outputs.py tests/model/original/languagebind.safetensors
"""

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 8}
VISION = {**SIZES, "hidden_act": "gelu", "lora_alpha": 6.0, "force_patch_dropout": 0.0, "projection_dim": 8}
TEXT = {"vocab_size": 30, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
VIDEO = {"add_time_attn": True, "num_frames": 3, "image_size": 16}
CASES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "video": ("Video", {**VIDEO, "lora_r": 4}, (2, 3, 3, 16, 16)),
    "video_ft": ("Video", {**VIDEO, "lora_r": 0}, (2, 3, 3, 16, 16)),
    "video_v1.5": ("Video", {**VIDEO, "lora_r": 0, "clip_type": "vl_new", "tube_size": 1}, (2, 3, 3, 16, 16)),
    "audio": ("Audio", {"num_mel_bins": 24, "target_length": 48, "image_size": 16, "lora_r": 4}, (2, 3, 24, 48)),
    "depth": ("Depth", {"num_mel_bins": 0, "target_length": 0, "image_size": 16, "lora_r": 2}, (2, 3, 16, 16)),
    "thermal": ("Thermal", {"num_mel_bins": 0, "target_length": 0, "image_size": 16, "lora_r": 0}, (2, 3, 16, 16)),
}
"""Name → class, its `vision_config`, and the shape of its inputs: of videos (B, C, T, H, W)."""


def import_without_processors(modality: str) -> tuple[Any, Any]:
    """The config and the model class of a modality; the package's `__init__` would import its processors."""
    if "languagebind" not in sys.modules:
        spec = importlib.util.find_spec("languagebind")
        assert spec is not None
        package = sys.modules["languagebind"] = types.ModuleType("languagebind")
        package.__path__ = list(spec.submodule_search_locations or [])
    name = modality.lower()
    config = importlib.import_module(f"languagebind.{name}.configuration_{name}")
    model = importlib.import_module(f"languagebind.{name}.modeling_{name}")
    return getattr(config, f"LanguageBind{modality}Config"), getattr(model, f"LanguageBind{modality}")


@torch.no_grad()
def main(path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}
    about: dict[str, str] = {}
    for seed, (case, (modality, settings, shape)) in enumerate(CASES.items()):
        torch.manual_seed(seed)
        config_class, model_class = import_without_processors(modality)
        vision = {**VISION, "add_time_attn": False, "num_frames": 1, **settings}
        config = config_class(text_config=TEXT, vision_config=vision, projection_dim=8)
        config.vision_config._attn_implementation = config.text_config._attn_implementation = "eager"
        model = model_class(config).eval()
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
        x = torch.randn(shape)
        z = torch.nn.functional.normalize(model.get_image_features(pixel_values=x), dim=-1)
        about[case] = json.dumps({"model_type": f"LanguageBind{modality}", "vision_config": vision})
        state = {name: p for name, p in model.state_dict().items() if not name.startswith("text_")}
        tensors |= {f"{case}/state/{name}": p.contiguous() for name, p in state.items()}
        tensors |= {f"{case}/x": x, f"{case}/z": z}
    save_file(tensors, path, metadata=about)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
