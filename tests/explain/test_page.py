"""The page of an explanation in a browser: samples are looked at and heard, and what is gone is said to be."""

import dataclasses
from contextlib import contextmanager

import pytest
from support import browser as chromium
from support import runs

from bind.data.sources.manifest import ManifestSource
from bind.data.sources.toy.world import FACTORS, ToySource
from bind.explain.concepts import ConceptVocabulary
from bind.explain.explanation import ExplainedSide, explain_pair
from bind.explain.known import KnownSamples
from bind.explain.page import write_page
from bind.explain.picture import draw_side
from bind.explain.samples import page_samples
from bind.model.binder import Binder

WORDS = [word for words in FACTORS.values() for word in words]


@pytest.fixture(scope="module")
def binder():
    encoder = {
        "audio": {"_target_": "bind.encoders.audio_cnn.AudioCNN", "sample_rate_hz": 16_000, "width": 8},
        "imu": {"_target_": "bind.encoders.imu_cnn.ImuCNN", "width": 8, "num_layers": 1},
    }
    transform = {
        "audio": {"_target_": "bind.data.transforms.audio.AudioTransform", "window_seconds": 0.25},
        "imu": {"_target_": "bind.data.transforms.imu.ImuTransform", "window_seconds": 0.5},
    }
    head = {"_target_": "bind.encoders.heads.ProjectionHead"}
    anchor = {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"}
    config = {"anchor": anchor, "modalities": list(encoder), "encoder": encoder, "head": head, "transform": transform}
    return Binder.from_config(config).eval()


def side(binder, source, modality):
    value = source.fetch("test", [0], [modality], None)[0][modality][0]
    return ExplainedSide.embed(binder, modality, value, f"a {modality}", source.samples("test")[0].key)


def explained(binder, source, *, a="audio", b="imu"):
    training = KnownSamples.draw([source], "train", 20)
    explanation = explain_pair(
        binder, side(binder, source, a), side(binder, source, b),
        training=training, pool=KnownSamples.draw([source], "test", 20),
        vocabulary=ConceptVocabulary.embed(binder, WORDS), kind="emergent", meeting_modality="image",
    )  # fmt: skip
    return explanation, training


def write(folder, binder, explanation, training):
    pictures = [folder / "a.png", folder / "b.png"]
    for png, each, regions in zip(pictures, explanation.sides, explanation.maps, strict=True):
        draw_side(png, each, regions, binder.transforms[each.modality])
    samples = page_samples(explanation, training, binder.transforms)
    write_page(folder / "why.html", explanation, pictures, ["a run"], samples)
    return folder / "why.html", samples


@contextmanager
def opened(path, tmp_path, **size):
    driver = chromium.start(tmp_path / "profile")
    try:
        chromium.look(driver, path, **size)
        yield driver
        assert driver.get_log("browser") == []
    finally:
        driver.quit()


@pytest.mark.browser
def test_a_sound_is_played_and_samples_are_seen(binder, tmp_path):
    page, _ = write(tmp_path, binder, *explained(binder, ToySource(num_train=20)))
    assert page.stat().st_size < 3_000_000
    with opened(page, tmp_path) as driver:
        assert [len(driver.find_elements("css selector", f"[data-samples={s}] .cell")) for s in "ab"] == [3, 3]
        assert len(driver.find_elements("css selector", "[data-samples=a] img.sound")) == 3
        assert len(driver.find_elements("css selector", "[data-samples=b] svg.trace")) == 6
        assert len(driver.find_elements("css selector", "[data-samples=meeting] .media img")) == 3
        assert not driver.find_elements("css selector", "[data-samples] table")
        assert not driver.find_elements("css selector", "[data-sound=b]")
        button = driver.find_element("css selector", "[data-sound=a] button.sound")
        button.click()
        assert button.text == "■ stop"
        chromium.look(driver, page, width=390, dark=True)
        assert driver.execute_script("return document.scrollingElement.scrollWidth") <= 390


@pytest.mark.browser
def test_texts_are_there_as_their_words_and_names_of_others_stay_text(binder, tmp_path):
    explanation, training = explained(binder, ToySource(num_train=20), b="text")
    nasty = "<img src=x onerror=\"document.title='broken'\">"
    a = dataclasses.replace(explanation.a, title=nasty)
    page, _ = write(tmp_path, binder, dataclasses.replace(explanation, a=a, words=(nasty, *WORDS[1:])), training)
    with opened(page, tmp_path) as driver:
        quotes = [each.text for each in driver.find_elements("css selector", "[data-samples=b] blockquote")]
        assert quotes == [near.caption for near in explanation.nearest[1]]
        assert driver.title.startswith(nasty)
        assert nasty in driver.find_element("tag name", "body").get_attribute("textContent")


@pytest.mark.browser
def test_where_files_are_gone_the_page_opens_and_says_so(binder, recordings, tmp_path):
    rows = runs.read_manifest(recordings)
    for row in rows:
        row.update({m: str(recordings.parent / row[m]) for m in ("imu", "image") if m in row})
        if "audio" in row:
            sound = tmp_path / row["audio"].replace("/", "_")
            sound.write_bytes((recordings.parent / row["audio"]).read_bytes())
            row["audio"] = str(sound)
    source = ManifestSource(runs.write_manifest(tmp_path / "table.jsonl", rows))
    explanation, training = explained(binder, source)
    for sound in tmp_path.glob("*.wav"):
        sound.unlink()
    page, samples = write(tmp_path, binder, explanation, training)
    assert samples["sounds"] == {}
    with opened(page, tmp_path) as driver:
        gone = [each.text for each in driver.find_elements("css selector", "[data-samples=a] .missing")]
        assert len(gone) == len(explanation.nearest[0])
        assert all("can't be shown: " in text and ".wav" in text for text in gone)
        assert not driver.find_elements("css selector", "[data-sound]")
        assert len(driver.find_elements("css selector", "[data-samples=b] svg.trace")) > 0
