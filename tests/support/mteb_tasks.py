"""Two local tasks of MTEB on the test rows of `runs.write_recordings`; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import soundfile
from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
from PIL import Image

from support import runs

CLASSES = ("label 0", "label 1")
TEMPLATE = "a sound of {}"
MANIFEST: dict[str, Path] = {}


def metadata(name: str, **more: Any) -> TaskMetadata:
    facts = {
        "name": name,
        "description": "Recordings of the tests.",
        "dataset": {"path": "lab/recordings", "revision": "0"},
        "eval_splits": ["test"],
        "eval_langs": ["eng-Latn"],
    }
    return TaskMetadata(**{**facts, **more})


def rows_with(*modalities: str) -> list[dict[str, Any]]:
    rows = runs.read_manifest(MANIFEST["path"])
    return [row for row in rows if row["split"] == "test" and set(modalities) <= set(row)]


def sound(row: dict[str, Any]) -> dict[str, Any]:
    samples, rate_hz = soundfile.read(MANIFEST["path"].parent / row["audio"], dtype="float32")
    return {"array": samples.tolist(), "sampling_rate": rate_hz}


class SoundToPicture(AbsTaskRetrieval):
    metadata: ClassVar[TaskMetadata] = metadata(
        "SoundToPicture",
        type="Any2AnyRetrieval",
        category="a2i",
        modalities=["audio", "image"],
        main_score="hit_rate_at_1",
    )

    def load_data(self, **options: Any) -> None:
        folder = MANIFEST["path"].parent
        pool = [
            {"id": row["key"], "image": Image.open(folder / row["image"]).convert("RGB")} for row in rows_with("image")
        ]
        queries = [{"id": row["key"], "audio": sound(row)} for row in rows_with("audio", "image")]
        self.dataset = {
            "default": {
                "test": {
                    "queries": Dataset.from_list(queries),
                    "corpus": Dataset.from_list(pool),
                    "relevant_docs": {query["id"]: {query["id"]: 1} for query in queries},
                    "top_ranked": None,
                }
            }
        }
        self.data_loaded = True


class SoundsByWords(AbsTaskZeroShotClassification):
    metadata: ClassVar[TaskMetadata] = metadata(
        "SoundsByWords",
        type="AudioZeroshotClassification",
        category="a2t",
        modalities=["audio", "text"],
        main_score="accuracy",
    )
    input_column_name = "audio"
    label_column_name = "label"

    def get_candidate_labels(self) -> list[str]:
        return [TEMPLATE.format(name) for name in CLASSES]

    def load_data(self, **options: Any) -> None:
        items = [{"audio": sound(row), "label": CLASSES.index(row["label"])} for row in rows_with("audio")]
        self.dataset = {"test": Dataset.from_list(items)}
        self.data_loaded = True
