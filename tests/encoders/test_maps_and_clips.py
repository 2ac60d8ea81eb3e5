import pytest
import torch

from bind.encoders.map_cnn import MapCNN
from bind.encoders.map_vit import MapViT
from bind.encoders.video_cnn import VideoCNN


@pytest.mark.parametrize("size", [(64, 64), (96, 128), (224, 224)])
def test_maps_of_any_size_give_the_same_number_of_features(size):
    encoder = MapCNN(width=8)
    assert encoder(torch.rand(2, 1, *size)).shape == (2, encoder.num_features)


@pytest.mark.parametrize(
    ("encoder", "shape", "message"),
    [
        (MapCNN(width=8), (2, 3, 64, 64), r"maps \(B, 1, H, W\)"),
        (
            MapViT(size_px=32, patch=8, width=8, num_layers=1, num_heads=2),
            (2, 1, 64, 64),
            r"\(B, 1, 32, 32\).*the same size_px",
        ),
        (VideoCNN(width=8), (2, 3, 8, 64, 64), r"clips \(B, T, 3, H, W\)"),
    ],
    ids=["colours", "another size", "channels before time"],
)
def test_other_shapes_are_refused(encoder, shape, message):
    with pytest.raises(ValueError, match=message):
        encoder(torch.zeros(shape))


def test_patches_that_do_not_fill_the_map_are_refused():
    with pytest.raises(ValueError, match="patch=16 does not fill size_px=40"):
        MapViT(size_px=40, patch=16)


def test_places_in_a_map_and_moments_of_a_clip_differ():
    torch.manual_seed(0)
    x = torch.zeros(2, 1, 32, 32)
    x[0, :, :8, :8] = x[1, :, -8:, -8:] = 1.0
    first, second = MapViT(size_px=32, patch=8, width=16, num_layers=1, num_heads=2).eval()(x)
    assert (first - second).abs().max() > 1e-3
    clip = torch.rand(1, 4, 3, 32, 32) * 255
    encoder = VideoCNN(width=8, num_layers=2).eval()
    assert (encoder(clip) - encoder(clip[:, [2, 0, 3, 1]])).abs().max() > 1e-3


def test_clips_of_bytes_are_clips_of_floats():
    torch.manual_seed(0)
    clip = torch.randint(0, 256, (2, 5, 3, 48, 64), dtype=torch.uint8)
    encoder = VideoCNN(width=8).eval()
    assert torch.equal(encoder(clip), encoder(clip.float()))
