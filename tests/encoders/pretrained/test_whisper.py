import pytest
import torch
import transformers
from support import pretrained

from bind.data.transforms.pretrained.whisper import WhisperTransform
from bind.encoders.pretrained.whisper import WhisperAudioEncoder
from bind.types import Clip

SOUNDS = pretrained.sounds(0.3, 0.8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return pretrained.write(pretrained.whisper, tmp_path_factory.mktemp("whisper"))


def original(folder):
    """Last hidden states of the model's own class, behind its own extractor."""
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    model = transformers.WhisperModel.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = extractor([sound.samples for sound in SOUNDS], sampling_rate=16_000, return_tensors="pt")
    return model.get_encoder()(inputs.input_features).last_hidden_state


@pytest.mark.slow
@torch.no_grad()
def test_features_are_those_of_the_original(folder):
    encoder = WhisperAudioEncoder(pretrained=folder).eval()
    inputs = pretrained.collated(WhisperTransform(pretrained=folder), SOUNDS)
    tokens_BLF, mask_BL = encoder.tokens(inputs)
    torch.testing.assert_close(tokens_BLF, original(folder), atol=1e-5, rtol=0)
    assert mask_BL.sum(dim=1).tolist() == [15, 40]
    features_BF = encoder(inputs)
    for features_F, tokens_LF, num_tokens in zip(features_BF, original(folder), [15, 40], strict=True):
        torch.testing.assert_close(features_F, tokens_LF[:num_tokens].mean(dim=0), atol=1e-5, rtol=0)
    encoder.pool = "all"
    torch.testing.assert_close(encoder(inputs), original(folder).mean(dim=1), atol=1e-5, rtol=0)


@pytest.mark.slow
@torch.no_grad()
def test_neighbours_change_nothing(folder):
    encoder, transform = WhisperAudioEncoder(pretrained=folder).eval(), WhisperTransform(pretrained=folder)
    alone = torch.cat([encoder(pretrained.collated(transform, [sound])) for sound in SOUNDS])
    torch.testing.assert_close(encoder(pretrained.collated(transform, SOUNDS)), alone, atol=1e-5, rtol=0)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("seconds", [0.8, 0.82, 1.0])
def test_a_shorter_input_has_the_first_positions_and_the_first_frames(folder, seconds):
    whole = pretrained.collated(WhisperTransform(pretrained=folder), SOUNDS)
    cut = pretrained.collated(WhisperTransform(pretrained=folder, window_seconds=seconds), SOUNDS)
    num_frames = round(100 * seconds)
    assert cut["input_features"].shape[-1] == num_frames
    for name, x in cut.items():
        torch.testing.assert_close(x, whole[name][..., :num_frames], atol=1e-6, rtol=0)
    encoder = WhisperAudioEncoder(pretrained=folder, max_seconds=seconds).eval()
    positions = encoder.trunk.embed_positions.weight
    torch.testing.assert_close(
        positions, WhisperAudioEncoder(pretrained=folder).trunk.embed_positions.weight[: len(positions)]
    )
    assert encoder.tokens(cut)[0].shape[1] == num_frames // 2


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.001, 1.1, 30.0])
def test_what_it_has_no_positions_for_is_refused(folder, seconds):
    with pytest.raises(ValueError, match=r"max_seconds=.*: this Whisper has positions for 1 s"):
        WhisperAudioEncoder(pretrained=folder, max_seconds=seconds)


@pytest.mark.slow
def test_another_length_names_the_two_keys(folder):
    inputs = pretrained.collated(WhisperTransform(pretrained=folder, window_seconds=0.5), SOUNDS[:1])
    with pytest.raises(ValueError, match=r"window_seconds to the encoder's max_seconds"):
        WhisperAudioEncoder(pretrained=folder)(inputs)


@torch.no_grad()
def test_real_weights_tell_spoken_digits_apart(real_data):
    """The nearest recording of another speaker says the same digit far more often than by chance."""
    folder = str(real_data("whisper-tiny-en"))
    encoder = WhisperAudioEncoder(pretrained=folder, max_seconds=1.5).eval()
    transform = WhisperTransform(pretrained=folder, window_seconds=1.5)
    recordings = real_data("fsdd") / "recordings"
    speakers = ("george", "lucas")
    clips = [Clip(recordings / f"{digit}_{speaker}_0.wav") for speaker in speakers for digit in range(10)]
    z = torch.nn.functional.normalize(encoder(pretrained.collated(transform, clips)), dim=-1)
    z = z.unflatten(0, (2, 10))
    z = torch.nn.functional.normalize(z - z.mean(dim=1, keepdim=True), dim=-1)
    nearest = (z[0] @ z[1].T).argmax(dim=1)
    assert (nearest == torch.arange(10)).float().mean() > 0.5
