import os

import numpy as np
import pytest

from bind.data.sources.content import hash_files
from bind.data.sources.manifest import ManifestSource
from bind.data.sources.phrases import PhraseSource
from bind.data.sources.scans import ScanSource
from bind.data.sources.toy.world import ToySource
from bind.types import Clip, Sample

MODALITIES = ("image", "text", "audio")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        (tmp_path / "data" / f"{name}.png").write_bytes(b"12345")
        (tmp_path / "data" / f"{name}.wav").write_bytes(b"12345")
    write(tmp_path / "data", "k0,train,a.png,hello,a.wav,0\nk1,train,b.png,bye,b.wav,1\nk2,val,,again,,")
    return tmp_path / "data"


def write(folder, rows):
    (folder / "manifest.csv").write_text("key,split,image,text,audio,audio_start_seconds\n" + rows)


def hashes(folder):
    source = ManifestSource(folder / "manifest.csv")
    return {m: source.content_hash("train", m) for m in MODALITIES}


def changed(folder, before):
    return {m for m, x in hashes(folder).items() if x != before[m]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("k0,train,a.png,hello,a.wav,0\nk1,train,b.png,bye,b.wav,1\nk2,val,,other,,", set()),
        ("k0,train,a.png,hello,a.wav,0\nk1,train,b.png,goodbye,b.wav,1", {"text"}),
        ("k0,train,a.png,hello,a.wav,0\nk1,train,b.png,bye,b.wav,2", {"audio"}),
        ("k0,train,b.png,hello,a.wav,0\nk1,train,a.png,bye,b.wav,1", {"image"}),
        ("k0,train,,hello,a.wav,0\nk1,train,b.png,bye,b.wav,1", {"image"}),
        ("k1,train,a.png,hello,a.wav,0\nk0,train,b.png,bye,b.wav,1", set(MODALITIES)),
        ("k0,train,a.png,hello,a.wav,0", set(MODALITIES)),
    ],
)
def test_rows_count_where_they_matter(folder, rows, expected):
    before = hashes(folder)
    write(folder, rows)
    assert changed(folder, before) == expected


@pytest.mark.slow
def test_a_file_that_is_written_again_counts(folder):
    before = hashes(folder)
    path = folder / "b.png"
    old = path.stat()
    path.write_bytes(b"54321")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns + 1))
    assert changed(folder, before) == {"image"}
    path.write_bytes(b"123456")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert changed(folder, before) == {"image"}


@pytest.mark.slow
def test_a_copy_elsewhere_that_keeps_the_times_is_the_same(folder):
    before = hashes(folder)
    assert changed(folder.rename(folder.parent / "elsewhere"), before) == set()


def test_a_file_that_is_gone_is_named(folder):
    source = ManifestSource(folder / "manifest.csv")
    (folder / "b.png").unlink()
    with pytest.raises(ValueError, match=r"b\.png: No such file"):
        source.content_hash("train", "image")


def test_what_belongs_to_one_sample_does_not_slip_to_the_next(tmp_path):
    one = [Sample("a", "train", {"text": ["x", "y"]}), Sample("b", "train", {"text": []})]
    other = [Sample("a", "train", {"text": ["x"]}), Sample("b", "train", {"text": ["y"]})]
    assert hash_files(one, "text", tmp_path) != hash_files(other, "text", tmp_path)
    (tmp_path / "f").write_bytes(b"")
    spans = [[Sample("a", "train", {"audio": [Clip(tmp_path / "f", s, e)]})] for s, e in ((0.0, None), (None, 0.0))]
    assert len({hash_files(samples, "audio", tmp_path) for samples in spans}) == 2


@pytest.mark.slow
def test_a_generated_world_is_known_by_its_arguments_and_code(monkeypatch):
    def content(modality="image", split="train", **options):
        return ToySource(**{"num_train": 40, "num_val_queries": 1, "num_test_queries": 1} | options).content_hash(
            split, modality
        )

    same = content()
    assert content() == same
    assert content(partial_captions=0.5) == same, "values that are drawn afresh count undrawn"
    others = [content(num_train=41), content(seed=1), content("text"), content(split="val"), content(name="world")]
    assert len({same, *others}) == 6
    import bind.data.sources.toy.world as toy

    render = toy.render_images
    monkeypatch.setattr(toy, "render_images", lambda rngs, **factors: [255 - x for x in render(rngs, **factors)])
    assert content() != same, "other code makes other pictures"


@pytest.mark.slow
def test_scans_and_phrases_are_known_by_what_they_hold():
    assert ScanSource(seed=0).content_hash("val", "image") == ScanSource(seed=0).content_hash("val", "image")
    assert ScanSource(seed=0).content_hash("val", "image") != ScanSource(seed=1).content_hash("val", "image")
    sources = [PhraseSource(["red blue green round"], num_train=8, num_held_out=4, seed=seed) for seed in (0, 0, 1)]
    one, same, other = (source.content_hash("train", "text") for source in sources)
    assert one == same != other
    assert np.array_equal(sources[0].samples("train")[0].key, sources[1].samples("train")[0].key)
