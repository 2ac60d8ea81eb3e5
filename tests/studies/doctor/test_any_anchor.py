"""`--anchor` takes an anchor of any kind."""

import numpy as np
import pytest
from PIL import Image
from support import runs, tiny

from bind.anchors.clap import ClapAnchor
from bind.anchors.open_clip import OpenClipAnchor
from bind.anchors.towers import TowersAnchor
from bind.anchors.vectors import VectorsAnchor
from bind.studies.doctor.diagnose import diagnose
from bind.studies.doctor.doors import build_anchor

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """24 sounds and pictures with captions, two of the pictures nearly the same."""
    folder = tmp_path_factory.mktemp("data")
    pictures = [RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(24)]
    pictures[1] = pictures[0]
    rows = []
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i}.jpg", quality=95 - i)
        runs.write_sound(folder / f"{i}.wav", 200 + 30 * i, RNG, rate_hz=8000)
        rows.append(
            {"key": str(i), "split": "train", "image": f"{i}.jpg", "audio": f"{i}.wav", "text": f"a dog {i} " * 3}
        )
    return runs.write_manifest(folder / "m.jsonl", rows)


@pytest.mark.slow
def test_names_are_left_to_be_loaded_and_choices_are_built(tmp_path):
    assert build_anchor("toy") == "toy"
    assert build_anchor("openai/clip-vit-base-patch32") == "openai/clip-vit-base-patch32"
    assert build_anchor(str(tmp_path)) == str(tmp_path)
    clap = build_anchor(f"clap:{tiny.write_clap(tmp_path / 'clap')}")
    assert isinstance(clap, ClapAnchor)
    assert isinstance(build_anchor(f"open_clip:local-dir:{tiny.write_open_clip(tmp_path / 'clip')}"), OpenClipAnchor)
    with pytest.raises(ValueError, match="no such folder"):
        build_anchor("open_clip:local-dir:/nowhere")


@pytest.mark.slow
def test_towers_of_ones_own_are_built_as_a_training_builds_them(manifest, tmp_path):
    vectors = "{_target_: bind.data.transforms.vectors.VectorTransform, width: 6}"
    (tmp_path / "anchor").mkdir()
    (tmp_path / "anchor" / "mine.yaml").write_text(
        "_target_: bind.anchors.towers.TowersAnchor\ndim: 6\nname: my space\n"
        f"towers: {{image: {{_target_: torch.nn.Identity}}}}\ntransforms: {{image: {vectors}}}\n"
    )
    anchor = build_anchor("mine", tmp_path)
    assert isinstance(anchor, TowersAnchor)
    (note,) = [note for note in diagnose(manifest, anchor).notes if "near duplicates" in note]
    assert "my space reads pictures with VectorTransform" in note


@pytest.mark.slow
def test_the_doctor_asks_an_anchor_of_open_clip(manifest, tmp_path):
    diagnosis = diagnose(manifest, OpenClipAnchor(str(tiny.write_open_clip(tmp_path))))
    names = {problem.kind.name for problem in diagnosis.problems()}
    assert "nearly the same picture in two groups" in names
    assert "caption longer than the text tower takes" in names
    assert {"image → text", "text → image"} <= set(diagnosis.measured["the anchor alone"])


@pytest.mark.slow
def test_the_doctor_asks_an_anchor_of_sounds(manifest, tmp_path):
    diagnosis = diagnose(manifest, ClapAnchor(str(tiny.write_clap(tmp_path))))
    assert {"audio → text", "text → audio"} <= set(diagnosis.measured["the anchor alone"])
    assert "near duplicates were not looked for" in " ".join(diagnosis.notes)


@pytest.mark.slow
def test_pictures_that_are_vectors_are_read_as_such(tmp_path):
    for name, array in {"a": np.ones(4), "b": np.array([1, 2, 3, np.nan])}.items():
        np.save(tmp_path / f"{name}.npy", array)
    rows = [{"key": name, "split": "train", "image": f"{name}.npy", "text": name} for name in "ab"]
    diagnosis = diagnose(runs.write_manifest(tmp_path / "m.jsonl", rows), VectorsAnchor(dim=4))
    errors = [f.name for problem in diagnosis.problems() if problem.is_error for f in problem.findings]
    assert errors == ["b.npy"]


@pytest.mark.slow
def test_the_doctor_asks_nothing_of_an_anchor_of_vectors(manifest):
    diagnosis = diagnose(manifest, VectorsAnchor(dim=4))
    assert not diagnosis.measured["the anchor alone"]
    assert "not readable as .npy" in str([p.findings for p in diagnosis.problems() if p.is_error])
