"""Vision and video models, and PatchTST: equal to a direct call of their own classes."""

from functools import partial

import numpy as np
import pytest
import torch
import transformers as t
from PIL import Image
from support import pretrained

from bind.data.transforms.pretrained.vision import VisionDepthTransform, VisionThermalTransform
from bind.encoders.pretrained.patchtst import PatchTstEncoder
from bind.encoders.pretrained.video import VideoEncoder
from bind.encoders.pretrained.vision import VisionEncoder

IMAGE_MODELS = {
    "dinov2": (pretrained.dinov2, t.Dinov2Model, lambda out: out.pooler_output),
    "vit": (pretrained.vit, t.ViTModel, lambda out: out.last_hidden_state[:, 0]),
    "beit": (pretrained.beit, t.BeitModel, lambda out: out.pooler_output),
    "clip": (pretrained.clip, t.CLIPVisionModel, lambda out: out.pooler_output),
    "siglip": (pretrained.siglip, t.SiglipVisionModel, lambda out: out.pooler_output),
    "convnext": (pretrained.convnext, t.ConvNextModel, lambda out: out.pooler_output),
    "resnet": (pretrained.resnet, t.ResNetModel, lambda out: out.pooler_output.flatten(1)),
}
VIDEO_MODELS = {
    "videomae": (pretrained.videomae, t.VideoMAEModel, lambda out: out.last_hidden_state.mean(dim=1)),
    "videomae_pretraining": (
        partial(pretrained.videomae, t.VideoMAEForPreTraining),
        t.VideoMAEModel,
        lambda out: out.last_hidden_state.mean(dim=1),
    ),
    "timesformer": (pretrained.timesformer, t.TimesformerModel, lambda out: out.last_hidden_state[:, 0]),
    "vivit": (pretrained.vivit, t.VivitModel, lambda out: out.last_hidden_state[:, 0]),
}


def assert_equal(z, expected):
    torch.testing.assert_close(z, expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_vision_models(tmp_path, name):
    family, model_class, pooled = IMAGE_MODELS[name]
    folder = pretrained.write(family, tmp_path)
    inputs = pretrained.collated(VisionDepthTransform(pretrained=folder), pretrained.depth_maps())
    encoder = VisionEncoder(pretrained=folder).eval()
    expected = pooled(model_class.from_pretrained(folder).eval()(inputs))
    assert_equal(encoder(inputs), expected)
    assert encoder.num_features == expected.shape[1]
    assert sum(p.numel() for layer in encoder.layers() for p in layer.parameters()) > 0
    with pytest.raises(ValueError, match="choose the transform of vision models"):
        encoder(inputs[:, :1])


@pytest.mark.slow
def test_a_map_is_seen_as_a_grey_picture_of_its_values(tmp_path):
    """The picture that a photograph of the same grey levels gives, by the model's own processor."""
    folder = pretrained.write(pretrained.clip, tmp_path)
    levels = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
    photograph = Image.fromarray(levels).convert("RGB")
    expected = t.CLIPImageProcessorPil.from_pretrained(folder)(photograph, return_tensors="pt").pixel_values[0]
    torch.testing.assert_close(VisionThermalTransform(pretrained=folder)(levels, None), expected, atol=1e-5, rtol=0)
    metres = 1.0 / np.maximum(levels / 255.0 * 2.0, 0.02)  # disparity 2 is white
    picture = VisionDepthTransform(pretrained=folder)(metres.astype(np.float32), None)
    torch.testing.assert_close(picture, expected, atol=0.05, rtol=0)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("name", VIDEO_MODELS)
def test_video_models(tmp_path, name):
    family, model_class, pooled = VIDEO_MODELS[name]
    folder = pretrained.write(family, tmp_path)
    x_BTCHW = torch.rand(2, pretrained.NUM_FRAMES, 3, 32, 32)
    encoder = VideoEncoder(pretrained=folder, num_frames=pretrained.NUM_FRAMES).eval()
    assert_equal(encoder(x_BTCHW), pooled(model_class.from_pretrained(folder).eval()(x_BTCHW)))
    assert not torch.allclose(encoder(x_BTCHW.flip(1)), encoder(x_BTCHW), atol=1e-4)  # it sees motion
    with pytest.raises(ValueError, match="takes clips of 4 frames: set the encoder's num_frames"):
        VideoEncoder(pretrained=folder)


@pytest.mark.slow
@torch.no_grad()
def test_frames_through_a_vision_model_are_averaged(tmp_path):
    folder = pretrained.write(pretrained.clip, tmp_path)
    x_BTCHW = torch.rand(2, 3, 3, 32, 32)
    encoder = VideoEncoder(pretrained=folder, num_frames=3).eval()
    model = t.CLIPVisionModel.from_pretrained(folder).eval()
    assert_equal(encoder(x_BTCHW), torch.stack([model(x).pooler_output.mean(dim=0) for x in x_BTCHW]))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"pooling_type": "max"}, {"use_cls_token": True}])
def test_patchtst_pools_as_its_classifier(tmp_path, options):
    family = partial(pretrained.patchtst, t.PatchTSTForClassification, **options)
    folder = pretrained.write(family, tmp_path)
    x_BCT = torch.randn(2, 6, 40)
    encoder = PatchTstEncoder(pretrained=folder).eval()
    model = t.PatchTSTForClassification.from_pretrained(folder).eval()
    assert_equal(model.head.linear(encoder(x_BCT)), model(x_BCT.transpose(1, 2)).prediction_logits)
    with pytest.raises(ValueError, match=r"sample_rate_hz and window_seconds for 40 steps"):
        encoder(x_BCT[..., :32])


@pytest.mark.slow
@torch.no_grad()
def test_patchtst_of_a_pretraining_masks_nothing(tmp_path):
    encoder = PatchTstEncoder(pretrained=pretrained.write(pretrained.patchtst, tmp_path)).eval()
    x_BCT = torch.randn(2, 6, 40)
    assert torch.equal(encoder(x_BCT), encoder(x_BCT))
