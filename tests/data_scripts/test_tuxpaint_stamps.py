import shutil

import numpy as np
import pytest
import tuxpaint_stamps
from PIL import Image
from support.trees import converted, dropped, sizes, write_sound

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="12pt" height="12pt"><rect width="5" height="5" fill="red"/></svg>'


def write_stamp(folder, name, caption, *, languages=(), effect=False, svg=False, seed=0):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if svg:
        path.with_suffix(".svg").write_text(SVG.replace("red", f"#{seed:06x}"))
    else:
        pixels = np.zeros((10, 10, 4), dtype=np.uint8)
        pixels[2:8, 2:8] = (seed % 256, seed // 256, 40, 255)
        Image.fromarray(pixels).save(path.with_suffix(".png"))
    if caption:
        path.with_suffix(".txt").write_text(f"{caption}\nfr.utf8=Le {caption}\npt_BR.utf8=O {caption}\nde.utf8=\n")
    path.with_suffix(".dat").write_text("nomirror\n")
    for number, language in enumerate(languages):
        suffix = "" if language == "en" else f"_{language}"
        write_sound(path.parent / f"{path.name}_desc{suffix}.ogg", seconds=0.1 + 0.001 * (20 * seed + number))
    if effect:
        write_sound(path.with_suffix(".wav"), seconds=0.2 + 0.001 * seed)


def write_stamps(folder):
    for n in range(20):
        write_stamp(folder, f"animals/animal-{chr(97 + n)}{'x' * n}q", f"Animal {n}.", languages=("fr", "el"), seed=n)
    write_stamp(folder, "birds/duck", "A duck.", languages=("en", "fr", "pt_BR"), effect=True, seed=30)
    write_stamp(folder, "birds/duck_mirror", None, seed=31)
    write_stamp(folder, "birds/cartoon/duck2", "A yellow duck.", languages=("fr",), svg=True, seed=32)
    write_stamp(folder, "birds/drake", "A DUCK", seed=33)
    write_stamp(folder, "town/House", "A house.", languages=(), seed=34)
    write_sound(folder / "town" / "house_desc_el.ogg", seconds=0.3)
    write_sound(folder / "town" / "House_en_GB.ogg", seconds=0.31)
    write_sound(folder / "town" / "gift_desc_ro.ogg", seconds=0.32)
    write_sound(folder / "town" / "House_desc_da.ogg.ogg", seconds=0.33)
    write_stamp(folder, "town/untold", None, seed=35)
    return folder


@pytest.fixture(scope="module")
def stamps(tmp_path_factory):
    return write_stamps(tmp_path_factory.mktemp("tuxpaint") / "stamps")


@pytest.mark.slow
def test_a_row_is_a_stamp_with_its_voices_and_captions(stamps, tmp_path, capsys):
    manifest = converted("tuxpaint_stamps", stamps, tmp_path)
    samples = {sample.key: sample for split in manifest.splits for sample in manifest.samples(split)}
    assert sum(sizes(manifest).values()) == len(samples) == 24
    assert all(sizes(manifest).values())
    duck = samples["birds_duck"]
    assert [clip.path.name for clip in duck.values["speech"]] == [
        "duck_desc.ogg",
        "duck_desc_fr.ogg",
        "duck_desc_pt_BR.ogg",
    ]
    assert [clip.path.name for clip in duck.values["audio"]] == ["duck.wav"]
    assert [clip.path.name for clip in duck.values["image"]] == ["birds_duck.png", "birds_duck_mirror.png"]
    assert (duck.label, duck.group, duck.values["text"]) == ("birds", "a duck", ["A duck."])
    house = samples["town_House"]
    assert {clip.path.name for clip in house.values["speech"]} == {"house_desc_el.ogg", "House_desc_da.ogg.ogg"}
    assert [clip.path.name for clip in house.values["audio"]] == ["House_en_GB.ogg"]
    assert dropped(tmp_path) == {
        "gift_desc_ro.ogg": "a sound without a stamp of its name",
        "untold": "a stamp without an English caption",
    }
    assert "spoken: fr 22, el 21, en 1, pt_BR 1, da 1" in capsys.readouterr().out


@pytest.mark.slow
def test_pictures_stand_on_white(stamps, tmp_path):
    converted("tuxpaint_stamps", stamps, tmp_path)
    with Image.open(tmp_path / "image" / "birds_duck.png") as picture:
        assert picture.mode == "RGB"
        assert picture.getpixel((0, 0)) == (255, 255, 255)
        assert picture.getpixel((5, 5)) == (30, 0, 40)
    with Image.open(tmp_path / "image" / "birds_cartoon_duck2.png") as picture:
        assert picture.size == (256, 256)
        assert picture.getpixel((255, 255)) == (255, 255, 255)
        assert picture.getpixel((10, 10)) == (0, 0, 32)


@pytest.mark.slow
def test_variants_of_a_stamp_are_one_family(stamps, tmp_path):
    manifest = converted("tuxpaint_stamps", stamps, tmp_path)
    samples = {sample.key: sample for split in manifest.splits for sample in manifest.samples(split)}
    ducks = [samples[key] for key in ("birds_duck", "birds_cartoon_duck2", "birds_drake")]
    assert len({sample.owners for sample in ducks}) == 1
    assert len({sample.split for sample in ducks}) == 1
    assert len({sample.owners for sample in samples.values()}) == 22


@pytest.mark.slow
def test_one_recording_under_two_names_ties_a_family(stamps, tmp_path):
    source = tmp_path / "stamps"
    shutil.copytree(stamps, source)
    shutil.copy(source / "birds" / "duck.wav", source / "town" / "House.wav")
    manifest = converted("tuxpaint_stamps", source, tmp_path / "out")
    samples = {sample.key: sample for split in manifest.splits for sample in manifest.samples(split)}
    assert samples["town_House"].owners == samples["birds_duck"].owners


@pytest.mark.slow
def test_captions_in_other_languages(stamps, tmp_path):
    manifest = converted("tuxpaint_stamps", stamps, tmp_path, "--captions", "fr,en,de,pt_BR")
    samples = {sample.key: sample for split in manifest.splits for sample in manifest.samples(split)}
    assert samples["birds_duck"].values["text"] == ["Le A duck.", "A duck.", "O A duck."]


@pytest.mark.slow
def test_broken_sounds_and_pictures_are_named(stamps, tmp_path):
    source = tmp_path / "stamps"
    shutil.copytree(stamps, source)
    write_sound(source / "birds" / "duck.wav", silent=True)
    (source / "birds" / "drake.png").write_bytes(b"no picture")
    (source / "birds" / "cartoon" / "duck2.svg").write_text("<svg")
    with pytest.raises(ValueError, match=r"(?s)3 of \d+ files.*duck2\.svg.*drake\.png: not read.*duck\.wav: silent"):
        converted("tuxpaint_stamps", source, tmp_path / "out")
    manifest = converted("tuxpaint_stamps", source, tmp_path / "out", "--allow-bad", "0.1")
    assert sum(sizes(manifest).values()) == 22


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("birds/duck_mirror", "duck"),
        ("birds/Duck-2", "duck"),
        ("a/flower12b", "flower"),
        ("letters/A_outline", "a"),
        ("symbols/007", "007"),
    ],
)
def test_words_for_variants_are_no_part_of_the_name(name, plain):
    assert tuxpaint_stamps.base_name(name) == plain
