"""Explanations of pictures and captions of the toy world, by the shipped anchor, which is trained."""

import dataclasses
import json

import numpy as np
import pytest

from bind.data.sources.toy.world import FACTORS, ToySource
from bind.explain.concepts import ConceptVocabulary
from bind.explain.explanation import ExplainedSide, explain_pair
from bind.explain.known import KnownSamples
from bind.explain.page import describe_sum, summarise, write_page
from bind.explain.picture import draw_side
from bind.explain.samples import page_samples
from bind.model.binder import Binder
from bind.types import Clip

ANCHOR = {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"}
HEAD = {"_target_": "bind.encoders.heads.ProjectionHead"}
WORDS = [word for words in FACTORS.values() for word in words]


@pytest.fixture(scope="module")
def binder():
    encoder = {"imu": {"_target_": "bind.encoders.imu_cnn.ImuCNN", "width": 8, "num_layers": 1}}
    transform = {"imu": {"_target_": "bind.data.transforms.imu.ImuTransform"}}
    config = {"anchor": ANCHOR, "modalities": ["imu"], "encoder": encoder, "head": HEAD, "transform": transform}
    return Binder.from_config(config).eval()


@pytest.fixture(scope="module")
def toy():
    return ToySource(num_train=60, modalities=["image", "text", "imu"])


def samples_of(explanation, binder, toy):
    return page_samples(explanation, KnownSamples.draw([toy], "train", 40), binder.transforms)


def side(binder, toy, modality, row):
    value = toy.fetch("test", [row], [modality], None)[0][modality][0]
    key = toy.samples("test")[row].key
    return ExplainedSide.embed(binder, modality, value, value if modality == "text" else key, key)


def explained(binder, toy, a, b, **options):
    return explain_pair(
        binder,
        a,
        b,
        training=KnownSamples.draw([toy], "train", 40),
        pool=KnownSamples.draw([toy], "test", 40),
        vocabulary=ConceptVocabulary.embed(binder, WORDS),
        **options,
    )


@pytest.fixture(scope="module")
def explanation(binder, toy):
    return explained(binder, toy, side(binder, toy, "image", 3), side(binder, toy, "text", 3), kind="anchor")


@pytest.mark.slow
def test_what_a_picture_shares_with_its_caption_is_what_it_shows(explanation, toy):
    group = toy.samples("test")[3].group
    assert {word for word, _ in explanation.shared_concepts()[:4]} <= set(group.split())
    assert explanation.percentile > 99
    assert explanation.rank.rank == 1
    assert explanation.limits == ()
    picture, words = explanation.maps
    assert picture.effect_of_all > 0.3
    assert words.strongest(1)[0][0].strip(",") in group.split()
    assert words.sum_of_effects != pytest.approx(words.effect_of_all)


@pytest.mark.slow
def test_page_pictures_and_json_say_it(explanation, binder, toy, tmp_path):
    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for png, of_side, regions in zip(pictures, explanation.sides, explanation.maps, strict=True):
        draw_side(png, of_side, regions, binder.transforms[of_side.modality])
        assert png.read_bytes().startswith(b"\x89PNG")
    write_page(tmp_path / "page.html", explanation, pictures, ["a <fact>"], samples_of(explanation, binder, toy))
    page = (tmp_path / "page.html").read_text()
    assert "a &lt;fact&gt;" in page
    assert f"<p>{', '.join(WORDS)}</p>" in page
    assert page.count("data:image/png") == 2
    plain = json.loads(json.dumps(explanation.as_json(), allow_nan=False))
    for word, value in plain["shared_concepts"].items():
        assert f'<td>{word}</td><td class="number">{value:+.3f}</td>' in page
    assert len(plain["a"]["nearest_training_samples"]) == 3
    assert f"add up to {plain['centred_cosine']:+.3f}, which is not the cosine of {plain['cosine']:.3f}" in page
    assert ("More than half of it" in page) is (plain["unexplained"] > plain["centred_cosine"] / 2)


@pytest.mark.slow
def test_an_emergent_pair_names_where_it_met_and_what_its_words_do_not_say(binder, toy, tmp_path):
    """The encoder is random: no word explains its vectors."""
    a, b = side(binder, toy, "imu", 3), side(binder, toy, "text", 3)
    explanation = explained(binder, toy, a, b, kind="emergent", meeting_modality="image", l1=0.6)
    assert len(explanation.meeting) == 3
    assert any("less than half of a" in limit for limit in explanation.limits)
    assert explanation.shared.is_enough is (explanation.shared.unexplained <= explanation.shared.centred_cosine / 2)
    left_out = dataclasses.replace(explanation.shared, unexplained=0.4, centred_cosine=0.6)
    sentence = describe_sum(dataclasses.replace(explanation, shared=left_out))
    assert sentence.endswith("More than half of it (+0.400) is what the concepts leave out.")
    weak = dataclasses.replace(explanation.maps[0], effect_of_all=100.0)
    draw_side(tmp_path / "a.png", a, weak, binder.transforms["imu"])
    shown = samples_of(explanation, binder, toy)
    without_map = dataclasses.replace(explanation, maps=(weak, None))
    write_page(tmp_path / "page.html", without_map, [tmp_path / "a.png"] * 2, [], shown)
    page = (tmp_path / "page.html").read_text()
    assert "No region matters alone" in page
    assert "effects add up to" not in page
    draw_side(tmp_path / "a.png", a, explanation.maps[0], binder.transforms["imu"])
    write_page(tmp_path / "page.html", explanation, [tmp_path / "a.png"] * 2, [], shown)
    assert "Where they met: image" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_a_sample_is_not_its_own_evidence_and_counts_once_in_the_pool(binder, toy):
    training = KnownSamples.draw([toy], "train", 20)
    key = training.samples[4].key
    value = training.values("image", [4])[0]
    a = ExplainedSide.embed(binder, "image", value, key, key)
    training.embed(binder, "image")
    assert key in [near.key for near in training.nearest("image", a.z_D, 3, leave_out=None)]
    assert key not in [near.key for near in training.nearest("image", a.z_D, 3, leave_out=key)]
    explanation = explain_pair(
        binder, a, a, training=training, pool=training, kind="trained",
        vocabulary=ConceptVocabulary.embed(binder, WORDS),
    )  # fmt: skip
    assert (explanation.rank.rank, explanation.rank.num_distinct, explanation.rank.num_pool) == (1, 20, 20)


@pytest.mark.slow
def test_of_a_long_recording_the_part_is_named_and_times_are_those_of_its_file(binder, toy, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "day.npy", rng.standard_normal((60_000, 6)).astype(np.float32))
    transform = binder.transforms["imu"]
    header = {"channels": transform.channels, "units": transform.units, "sample_rate_hz": 100}
    (tmp_path / "day.json").write_text(json.dumps(header))
    a = ExplainedSide.embed(binder, "imu", Clip(tmp_path / "day.npy"), "day.npy")
    explanation = explained(binder, toy, a, side(binder, toy, "text", 3), kind="trained")
    part = "the middle 2 s of 600.0 s, from 299.0 s on"
    assert any(part in sentence for sentence in summarise(explanation))
    assert explanation.maps[0].column_names[0] == "299.00–299.20 s"
    assert explanation.as_json()["a"]["taken"]["starts_seconds"] == [299.0]
    assert explanation.as_json()["b"]["taken"] is None
    draw_side(tmp_path / "a.png", a, explanation.maps[0], transform)
    shown = samples_of(explanation, binder, toy)
    write_page(tmp_path / "page.html", explanation, [tmp_path / "a.png"] * 2, [], shown)
    assert part in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_a_modality_that_the_training_data_lacks_is_refused(binder, toy):
    a, b = side(binder, toy, "image", 3), side(binder, toy, "imu", 3)
    pictures = ToySource(num_train=20, modalities=["image"])
    with pytest.raises(ValueError, match="imu: the 20 training samples have none"):
        explained(binder, pictures, a, b, kind="trained")


@pytest.mark.slow
def test_a_sentence_of_many_samples_is_one_line_of_the_page(explanation, binder, toy, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    near = [dataclasses.replace(each, num_equal=40, caption="a red star") for each in explanation.nearest[1][:1]]
    known = dataclasses.replace(explanation, nearest=(explanation.nearest[0], near))
    shown = samples_of(known, binder, toy)
    write_page(tmp_path / "page.html", known, [tmp_path / "a.png"] * 2, [], shown)
    assert "a red star … and 40 more with these words" in (tmp_path / "page.html").read_text()
    assert shown["samples"]["b"]["cells"][0]["facts"][0] == "… and 40 more with these words"
