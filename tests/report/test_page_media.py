import dataclasses
import json
from collections import Counter

import pytest
from support import pages

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.toy.world import ToySource
from bind.report import page_media as page_media_file
from bind.report.page_media import page_media


def shown(source, num_samples=300, galleries=()):
    return page_media(pages.values_of(source), source.modalities(), galleries, num_samples)


def points_of(page):
    scatter = page["scatter"]
    names = [m["name"] for m in scatter["modalities"]]
    for m, s, v in zip(*(scatter["points"][k] for k in ("modality", "sample", "value")), strict=True):
        yield names[m], scatter["samples"][s], v


@pytest.fixture(scope="module")
def source(recordings):
    return ManifestSource(recordings)


@pytest.mark.slow
def test_every_vector_is_a_point_of_its_sample_with_its_own_medium(source):
    page = shown(source)
    samples = {sample.key: sample for sample in source.samples("test")}
    found = Counter()
    for modality, sample, value in points_of(page):
        media = page["media"][sample["media"][modality][value]]
        assert media["kind"] == {"audio": "sound", "imu": "trace", "image": "picture", "text": "text"}[modality]
        if modality == "text":
            assert media["text"] == samples[sample["key"]].values["text"][value]
        assert sample["label"] == samples[sample["key"]].label
        found[modality, sample["key"]] += 1
    assert found == {(m, key): len(v) for key, sample in samples.items() for m, v in sample.values.items()}
    for projection in page["scatter"]["projections"]:
        assert len(projection["x"]) == len(projection["y"]) == sum(found.values())
    json.dumps(page, allow_nan=False)


@pytest.mark.slow
def test_the_same_samples_are_chosen_again_and_no_more_than_the_limit(source):
    page = shown(source, 3)
    assert page == shown(source, 3)
    assert (len(page["scatter"]["samples"]), page["scatter"]["num_samples"]) == (3, 6)
    assert {sample["key"] for _, sample, _ in points_of(page)} == {s["key"] for s in page["scatter"]["samples"]}
    assert shown(source, 0)["scatter"] is None


def test_media_that_would_be_too_large_are_left_out_with_their_samples(source, monkeypatch):
    monkeypatch.setattr(page_media_file, "MAX_MEDIA_BYTES", 1)
    monkeypatch.setattr(page_media_file, "SAMPLES_AT_A_TIME", 2)
    page = shown(source)
    assert (len(page["scatter"]["samples"]), page["scatter"]["num_samples"]) == (2, 6)


@pytest.mark.slow
def test_a_fused_point_has_the_media_of_its_inputs(source):
    values = pages.values_of(source)
    values.split.z["audio_and_imu"] = values.split.z["audio"]
    values.split.rows["audio_and_imu"] = values.split.rows["audio"]
    fused = {"audio_and_imu": ("audio", "imu")}
    page = page_media(values, [*source.modalities(), *fused], [], 300, fused=fused)
    [fused] = [m for m in page["scatter"]["modalities"] if len(m["parts"]) > 1]
    assert fused == {"name": "audio_and_imu", "title": "audio ⊕ imu", "parts": ["audio", "imu"]}
    for modality, sample, _ in points_of(page):
        if modality == "audio_and_imu":
            assert "audio" in sample["media"]
            assert "audio_and_imu" not in sample["media"]


@pytest.mark.slow
def test_galleries_and_points_share_their_media(source):
    values = pages.values_of(source)
    gallery = pages.one_gallery(values.split, "audio", "text")
    with_gallery, without = shown(source, galleries=[gallery]), shown(source)
    assert len(with_gallery["media"]) == len(without["media"])
    row = with_gallery["galleries"][0]["rows"][0]
    assert with_gallery["media"][row["query"]["media"]]["kind"] == "sound"
    # The second of the pool is the second caption of the first sample that has any.
    first = next(sample for sample in source.samples("test") if "text" in sample.values)
    assert with_gallery["media"][row["hits"][1]["media"]]["text"] == first.values["text"][1]
    assert row["hits"][1]["key"] == first.key
    assert [cell["relevant"] for cell in row["hits"]] == [True, False, False]


@pytest.mark.slow
def test_an_item_of_a_gallery_is_known_by_key_file_and_owner(source):
    values = pages.values_of(source)
    sample = next(sample for sample in source.samples("test") if "audio" in sample.values)
    gallery = pages.one_gallery(values.split, "audio", "text")
    row = shown(source, galleries=[gallery])["galleries"][0]["rows"][0]
    file = sample.values["audio"][0].path.relative_to(source.path.parent)
    assert row["query"]["facts"] == [f"key {sample.key}", str(file), f"owner {sample.owners[0]}"]
    assert all(cell["facts"][0] == f"key {cell['key']}" for cell in row["hits"])
    assert not any(str(source.path.parent) in fact for cell in row["hits"] for fact in cell["facts"])


@pytest.mark.slow
def test_what_a_language_model_says_of_a_query_stands_first_among_its_facts(source):
    values = pages.values_of(source)
    gallery = pages.one_gallery(values.split, "audio", "text")
    place = ("audio", gallery.rows[0].position)
    for said, shown_fact in (("a dog barks", "in words: a dog barks"), ("", "in words: (nothing)")):
        page = page_media(values, source.modalities(), [gallery], 0, captions={place: said})
        row = page["galleries"][0]["rows"][0]
        assert row["query"]["facts"][0] == shown_fact
        assert not any(fact.startswith("in words") for cell in row["hits"] for fact in cell["facts"])


@pytest.mark.slow
def test_a_hit_has_words_only_where_some_say_why(source):
    values = pages.values_of(source)
    gallery = pages.one_gallery(values.split, "audio", "image")
    concepts = {("audio", 0, "image", 0): [("dog", 0.25)], ("audio", 0, "image", 1): []}
    page = page_media(values, source.modalities(), [gallery], 0, concepts=concepts)
    assert [hit.get("why") for hit in page["galleries"][0]["rows"][0]["hits"]] == [[["dog", 0.25]], None, None]


def test_a_sample_that_is_called_by_its_key_is_named_once():
    source = ToySource(num_test_queries=1, modalities=("text", "image"))
    samples = [dataclasses.replace(sample, group=None, label=None) for sample in source.samples("test")]
    values = pages.values_of(source)
    values.sample = lambda row: samples[row]
    cell = page_media(values, ["text"], [pages.one_gallery(values.split, "image", "text")], 0)["galleries"][0]["rows"][
        0
    ]
    assert (cell["query"]["caption"], cell["query"]["facts"]) == ("", [f"key and owner {samples[0].key}"])


def test_notes_and_the_order_of_labels_come_with_what_they_are_of():
    source = ToySource(num_test_queries=1, modalities=("text", "image"))
    values = pages.values_of(source)
    of_pair = [pages.one_gallery(values.split, *pair) for pair in (("image", "text"), ("text", "image"))]
    notes = {("image", "text"): "a picture shows more"}
    page = page_media(values, ["text"], of_pair, 3, notes=notes, labels=["spinning", "resting"])
    assert [gallery.get("note") for gallery in page["galleries"]] == ["a picture shows more", None]
    assert page["scatter"]["labels"] == ["spinning", "resting"]
