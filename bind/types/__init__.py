"""Types that rooms share: what flows from a sample to an embedding, and the protocols of what handles it."""

from bind.types.batches import (
    Batch,
    Embeddings,
    Inputs,
    Pair,
)
from bind.types.parts import (
    EmbeddingCache,
    Encoder,
    FrozenTower,
    LayeredEncoder,
    LoadedPart,
    TokenEncoder,
    Transform,
)
from bind.types.samples import (
    Clip,
    Modality,
    PackedFile,
    Sample,
    SensorRecording,
    Waveform,
    stable_id,
)
from bind.types.sources import (
    ColumnarSamples,
    FactorSource,
    FileSource,
    GeneratedSource,
    OrderedSource,
    Source,
    StoredFile,
    StoredSource,
    UnforkableSource,
)

__all__ = [
    "Batch",
    "Clip",
    "ColumnarSamples",
    "EmbeddingCache",
    "Embeddings",
    "Encoder",
    "FactorSource",
    "FileSource",
    "FrozenTower",
    "GeneratedSource",
    "Inputs",
    "LayeredEncoder",
    "LoadedPart",
    "Modality",
    "OrderedSource",
    "PackedFile",
    "Pair",
    "Sample",
    "SensorRecording",
    "Source",
    "StoredFile",
    "StoredSource",
    "TokenEncoder",
    "Transform",
    "UnforkableSource",
    "Waveform",
    "stable_id",
]
