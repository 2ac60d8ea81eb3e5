"""Depth, heat and videos for pretrained encoders: as their models' image processors make them, and what is refused."""

import json

import numpy as np
import pytest
import torch
import transformers as t
from support import pretrained, videos

from bind.data.transforms.pretrained.video import VideoFramesTransform
from bind.data.transforms.pretrained.vision import VisionDepthTransform, VisionThermalTransform
from bind.media.video import open_video
from bind.types import Clip

PROCESSORS = {
    "videomae": t.VideoMAEImageProcessor(**pretrained.CROP),
    "vivit": t.VivitImageProcessor(**pretrained.CROP),
    "clip": t.CLIPImageProcessorPil(**pretrained.CROP),
    "vit": t.ViTImageProcessorPil(**pretrained.SIDES),
    "convnext": t.ConvNextImageProcessorPil(size={"shortest_edge": 32}),
}


@pytest.fixture
def written(tmp_path):
    """A function from the name of a processor to the folder that transformers writes of it."""
    return lambda name: str(PROCESSORS[name].save_pretrained(tmp_path / name) and tmp_path / name)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return Clip(videos.three_colours(tmp_path_factory.mktemp("videos") / "a.mp4"))


def again(transform):
    """The transform that a saved binder builds, where the files of this one are not."""
    arguments = json.loads(json.dumps(transform.saved_arguments()))
    assert arguments["pretrained"] is None
    return type(transform)(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["videomae", "vivit", "clip"])
def test_a_video_is_what_the_models_own_processor_makes_of_its_frames(written, clip, name):
    folder = written(name)
    options = {"num_frames": 4, "clip_seconds": 2.0}
    transform = VideoFramesTransform(pretrained=folder, **options)
    with open_video(clip) as video:
        frames = video.frames([0.5 + (i + 0.5) * 0.5 for i in range(4)])  # the 2 s in the middle of 3
    processor = t.AutoImageProcessor.from_pretrained(folder, backend="pil")
    expected = processor(frames, return_tensors="pt")["pixel_values"]
    x_TCHW = transform(clip, None)
    assert x_TCHW.shape == (4, 3, 32, 32)
    assert torch.equal(x_TCHW, expected.view(4, 3, 32, 32))
    assert len({tuple(x.flatten().tolist()) for x in x_TCHW}) == 3, "three colours"
    arguments = transform.saved_arguments() | options
    assert torch.equal(VideoFramesTransform(**arguments)(clip, None), x_TCHW)
    assert transform.collate([x_TCHW, x_TCHW]).shape == (2, 4, 3, 32, 32)


@pytest.mark.slow
def test_a_video_has_clips_in_evaluation_and_a_drawn_one_in_training(written, clip):
    transform = VideoFramesTransform(pretrained=written("clip"), num_frames=2, clip_seconds=1.0, num_clips=3)
    clips = transform(clip, None)
    assert [x.mean(dim=(0, 2, 3)).argmax().item() for x in clips] == [0, 1, 2]
    drawn = [transform(clip, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", ["clip", "vit", "convnext"])
@pytest.mark.parametrize("transform_class", [VisionDepthTransform, VisionThermalTransform])
def test_a_map_has_the_square_and_the_scale_of_its_model(written, name, transform_class):
    is_depth = transform_class is VisionDepthTransform
    values = pretrained.depth_maps() if is_depth else pretrained.heat_maps()
    transform = transform_class(pretrained=written(name))
    x_BCHW = pretrained.collated(transform, values)
    assert x_BCHW.shape == (2, 3, 32, 32)
    processor = PROCESSORS[name]
    grey_BCHW = x_BCHW * torch.tensor(processor.image_std)[:, None, None]
    grey_BCHW = grey_BCHW + torch.tensor(processor.image_mean)[:, None, None]
    torch.testing.assert_close(grey_BCHW[:, :1].expand(-1, 3, -1, -1), grey_BCHW, atol=1e-6, rtol=0)
    assert grey_BCHW.min() > -1e-6
    assert grey_BCHW.max() < 1 + 1e-6
    assert grey_BCHW.std() > 0.01
    assert torch.equal(pretrained.collated(again(transform), values), x_BCHW)


TRANSFORMS = [VideoFramesTransform, VisionDepthTransform, VisionThermalTransform]


@pytest.mark.parametrize("transform_class", TRANSFORMS)
def test_what_is_no_processor_is_refused(written, tmp_path, transform_class):
    with pytest.raises(ValueError, match="takes pretrained or image_processor, not both"):
        transform_class(pretrained=written("clip"), image_processor=PROCESSORS["clip"].to_dict())
    for kind in ("NoSuchProcessor", "CLIPModel", "AutoImageProcessor", ""):
        with pytest.raises(ValueError, match=r"is no image processor of transformers: set pretrained|settings don't"):
            transform_class(image_processor={"image_processor_type": kind})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"could not be loaded: .*\nThe folder needs preprocessor_config\.json"):
        transform_class(pretrained=str(tmp_path / "empty"))


@pytest.mark.parametrize("transform_class", TRANSFORMS[1:])
def test_a_map_needs_a_model_for_squares(transform_class):
    settings = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 48}}
    with pytest.raises(ValueError, match=r"have the size .*48.*: maps need a model for squares"):
        transform_class(image_processor=settings)


def test_without_a_model_it_is_the_scale_of_clip():
    x_3HW = VisionThermalTransform()(np.full((50, 60), 255, dtype=np.uint8), None)
    processor = t.CLIPImageProcessorPil()
    white_3 = (1 - torch.tensor(processor.image_mean)) / torch.tensor(processor.image_std)
    torch.testing.assert_close(x_3HW, white_3[:, None, None].expand(3, 224, 224), atol=1e-5, rtol=0)
