"""Classify what sensors or microphones recorded with onnxruntime and numpy alone, without bind and without the anchor.

    bindspace export run=RUN to=onnx out=FOLDER
    python examples/classify_with_onnxruntime.py FOLDER imu windows.npy

FOLDER is what `bindspace export` wrote; windows.npy holds the inputs that its README.md describes, a row each, such as
(N, 6, 128) of the sensor's channels in their units. Without windows, the golden inputs of FOLDER take their place.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


def classify(folder, modality, x, label_set=None):
    """The nearest class of each row of `x`, and its cosine."""
    card = json.loads((folder / "card.json").read_text())
    label_set = label_set or next(s for s, entry in card["prompts"].items() if modality in entry["modalities"])
    session = onnxruntime.InferenceSession(folder / card["encoders"][modality]["file"])
    [z] = session.run(None, {"x": x})
    cosines = z @ np.load(folder / "prompts.npz")[label_set].T
    classes = card["prompts"][label_set]["classes"]
    return [(classes[row.argmax()], float(row.max())) for row in cosines]


if __name__ == "__main__":
    folder, modality = Path(sys.argv[1]), sys.argv[2]
    x = np.load(sys.argv[3]) if len(sys.argv) > 3 else np.load(folder / "golden.npz")[f"{modality}_x"]
    for name, cosine in classify(folder, modality, x.astype(np.float32)):
        print(f"{cosine:.3f}  {name}")
