"""NYU Depth v2, SUN RGB-D and LLVIP in the layout they are published in."""

import h5py
import numpy as np
import pytest
import scipy.io
import sun_rgbd
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.trees import converted, dropped, sizes, write_picture

from bind.data.transforms.depth import DepthTransform

SCENES = ["kitchen_0004", "kitchen_0004", "office_0001", "bedroom_0002", "home_office_0003", "exercise_room_0002"]
ROOMS = ["kitchen", "kitchen", "office", "bedroom", "home_office", "excercise_room"]  # as published


def write_nyu(folder, depths=None):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    n, height, width = len(SCENES), 6, 8
    depths = rng.uniform(0.7, 9.9, (n, width, height)).astype(np.float32) if depths is None else depths
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = rng.integers(0, 255, (n, 3, width, height), dtype=np.uint8)
        file["depths"] = depths
        for name, texts in (("scenes", SCENES), ("sceneTypes", ROOMS)):
            for i, text in enumerate(texts):
                file[f"#refs#/{name}{i}"] = np.array([[ord(letter)] for letter in text], dtype=np.uint16)
            references = [[file[f"#refs#/{name}{i}"].ref for i in range(n)]]
            file.create_dataset(name, data=references, dtype=h5py.ref_dtype)
    scipy.io.savemat(folder / "splits.mat", {"trainNdxs": [[1], [2], [3], [4]], "testNdxs": [[5], [6]]})
    return folder, depths


@pytest.mark.slow
def test_nyu_depth_is_in_millimetres(tmp_path):
    source, depths = write_nyu(tmp_path / "source")
    manifest = converted("nyu_depth_v2", source, tmp_path / "out")
    assert sum(sizes(manifest).values()) == 6
    assert [sample.label for sample in manifest.samples("test")] == ["home office", "other"]
    assert [sample.group for sample in manifest.samples("test")] == ["home office", "exercise room"]
    assert manifest.samples("test")[0].owners == ("scene:home_office_0003", "nyu:0005")
    for split in manifest.splits:
        for sample in manifest.samples(split):
            with Image.open(sample.values["depth"][0].path) as picture:
                metres_HW = np.asarray(picture) / 1000
            np.testing.assert_allclose(metres_HW, depths[int(sample.key[-4:]) - 1].T, atol=5.1e-4)
            with Image.open(sample.values["image"][0].path) as picture:
                assert (picture.mode, picture.size) == ("RGB", (8, 6))
            assert DepthTransform(size_px=4)(sample.values["depth"][0], None).isfinite().all()


@pytest.mark.slow
def test_nyu_names_a_picture_without_depth_and_wrong_splits(tmp_path):
    depths = np.ones((6, 8, 6), dtype=np.float32)
    depths[3] = np.nan
    source, _ = write_nyu(tmp_path / "source", depths)
    with pytest.raises(ValueError, match=r"1 of 6 files.*\n.*nyu_0004\.png: depth is NaN"):
        converted("nyu_depth_v2", source, tmp_path / "out")
    assert sum(sizes(converted("nyu_depth_v2", source, tmp_path / "out", "--allow-bad", "0.2")).values()) == 5
    scipy.io.savemat(source / "splits.mat", {"trainNdxs": [[1]], "testNdxs": [[2]]})
    with pytest.raises(ValueError, match=r"6 pictures, but splits\.mat is about 2 others"):
        converted("nyu_depth_v2", source, tmp_path / "out")
    (source / "nyu_depth_v2_labeled.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(ValueError, match=r"nyu_depth_v2_labeled\.mat: not readable as MATLAB 7\.3"):
        converted("nyu_depth_v2", source, tmp_path / "out")


KV2 = "kv2/kinect2data/{}_2014-06-02_15-07-56_260595134347_rgbf000105-resize"
TRAIN = [KV2.format("000306"), "kv1/NYUdata/NYU0003", "xtion/sun3ddata/mit_32_d507/d507_2/0000020-000000640240"]
TEST = [
    KV2.format("000307"),
    "realsense/sa/2014_10_21-18_16_30-1311000073",
    "xtion/xtion_align_data/2014_12_18_21_34_52_260595134347_rgbf000105-resize",
]


def rotated(millimetres):
    """As SUN RGB-D stores depth: 16 bits turned left by three."""
    return (millimetres << 3) | (millimetres >> 13)


def write_sun_rgbd(folder):
    depth_HW = np.arange(192, dtype=np.uint16).reshape(12, 16) * 50
    for index, place in enumerate([*TRAIN, *TEST]):
        frame = folder / "SUNRGBD" / place
        write_picture(frame / "image" / "0000105.jpg")
        (frame / "depth_bfx").mkdir()
        Image.fromarray(rotated(depth_HW)).save(frame / "depth_bfx" / "0000105.png")
        (frame / "scene.txt").write_text("home_office" if index % 2 else "idk")
    cells = {
        f"all{split}": np.array([[f"/n/fs/sun3d/data/SUNRGBD/{place}" for place in places]], dtype=object)
        for split, places in (("train", TRAIN), ("test", TEST))
    }
    toolbox = folder / "SUNRGBDtoolbox" / "traintestSUNRGBD"
    toolbox.mkdir(parents=True)
    scipy.io.savemat(toolbox / "allsplit.mat", cells)
    return folder, depth_HW


@pytest.mark.slow
def test_sun_rgbd_depth_is_turned_back_and_videos_stay_in_one_split(tmp_path):
    source, depth_HW = write_sun_rgbd(tmp_path / "source")
    manifest = converted("sun_rgbd", source, tmp_path / "out")
    assert len(manifest.samples("test")) == 3
    assert sum(sizes(manifest).values()) == 5
    assert dropped(tmp_path / "out") == {
        KV2.format("000306").replace("/", "_"): "train shares an owner with test",
    }
    owners = {owner for split in manifest.splits for sample in manifest.samples(split) for owner in sample.owners}
    assert owners == {
        "kv2:2014-06-02_15-07-56",
        "nyu:0003",
        "sun3d:mit_32_d507",
        "realsense:2014_10_21-18_16_30",
        "xtion:2014_12_18_21_34_52",
    }
    assert [(sample.group, sample.label) for sample in manifest.samples("test")] == [
        ("home office", "home office"),
        ("idk", None),
        ("home office", "home office"),
    ]
    with Image.open(manifest.samples("test")[0].values["depth"][0].path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.minimum(depth_HW, 8000))


@pytest.mark.slow
@given(st.integers(0, 2**16 - 1))
def test_turning_depth_back_undoes_the_turn(value):
    millimetres = np.array([value], dtype=np.uint16)
    assert sun_rgbd.restore_depth(rotated(millimetres)) == min(value, 8000)


@pytest.mark.slow
def test_sun_rgbd_names_broken_frames(tmp_path):
    source, depth_HW = write_sun_rgbd(tmp_path / "source")
    frames = [source / "SUNRGBD" / place for place in TEST]
    (frames[0] / "image" / "0000105.jpg").unlink()
    Image.fromarray(depth_HW[:6]).save(frames[1] / "depth_bfx" / "0000105.png")
    whole = (frames[2] / "image" / "0000105.jpg").read_bytes()
    (frames[2] / "image" / "0000105.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"(?s)3 of 6 files.*0 pictures.*depth of \(16, 6\) pixels.*not readable"):
        converted("sun_rgbd", source, tmp_path / "out")


def write_llvip(folder):
    for split, scenes in (("train", ("01", "02", "03", "20")), ("test", ("19", "20"))):
        for scene in scenes:
            for number in (1, 2):
                name = f"{scene}{number + 10 * (split == 'train'):04d}.jpg"
                write_picture(folder / "visible" / split / name)
                write_picture(folder / "infrared" / split / name, colour="grey")
    return folder


@pytest.mark.slow
def test_llvip_scenes_stay_in_one_split(tmp_path):
    manifest = converted("llvip", write_llvip(tmp_path / "source"), tmp_path / "out")
    assert sizes(manifest) == {"train": 4, "val": 2, "test": 4}
    assert set(dropped(tmp_path / "out")) == {"200011", "200012"}
    sample = manifest.samples("test")[0]
    assert sample.owners == ("scene:19",)
    assert sample.group is None
    assert sample.values["image"][0].path.parts[-3:] == ("visible", "test", "190001.jpg")
    assert sample.values["thermal"][0].path.parts[-3:] == ("infrared", "test", "190001.jpg")


@pytest.mark.slow
def test_llvip_names_what_has_no_partner_or_another_size(tmp_path):
    source = write_llvip(tmp_path / "source")
    (source / "infrared" / "train" / "010011.jpg").unlink()
    write_picture(source / "infrared" / "test" / "190001.jpg", size=(8, 8))
    with pytest.raises(ValueError, match=r"(?s)2 of 24 files.*010011\.jpg: missing.*\(8, 8\) pixels beside \(16, 12\)"):
        converted("llvip", source, tmp_path / "out")
