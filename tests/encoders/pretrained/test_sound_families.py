"""CLAP, AST, the speech models over waveforms and PE-AV: equal to a direct call of their own classes."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as t
from safetensors.torch import load_file, save_file
from support import pretrained

from bind.data.transforms.pretrained.ast import AstTransform
from bind.data.transforms.pretrained.clap import ClapTransform
from bind.data.transforms.pretrained.pe_av import PeAvTransform
from bind.data.transforms.pretrained.wav2vec2 import Wav2Vec2Transform
from bind.encoders.pretrained.ast import AstAudioEncoder
from bind.encoders.pretrained.clap import ClapAudioEncoder
from bind.encoders.pretrained.pe_av import PeAvAudioEncoder
from bind.encoders.pretrained.wav2vec2 import Wav2Vec2AudioEncoder

SPEECH = {
    "wav2vec2": (t.Wav2Vec2ForCTC, t.Wav2Vec2Model),
    "hubert": (t.HubertForSequenceClassification, t.HubertModel),
    "wavlm": (t.WavLMModel, t.WavLMModel),
    "data2vec": (partial(t.Data2VecAudioForCTC), t.Data2VecAudioModel),
}


def assert_equal(z, expected):
    torch.testing.assert_close(z, expected, atol=1e-5, rtol=0)


def extracted(extractor_class, folder, sounds, **options):
    extractor = extractor_class.from_pretrained(folder)
    arrays = [sound.samples for sound in sounds]
    return extractor(arrays, sampling_rate=extractor.sampling_rate, return_tensors="pt", **options)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
@pytest.mark.parametrize("projection", [True, False])
def test_clap(tmp_path, truncation, projection):
    folder = pretrained.write(partial(pretrained.clap, truncation), tmp_path)
    sounds = pretrained.sounds(0.2, 1.0, rate_hz=48_000)
    model = t.ClapModel.from_pretrained(folder).eval()
    inputs = extracted(t.ClapFeatureExtractor, folder, sounds)
    inputs = {"input_features": inputs.input_features.float(), "is_longer": torch.zeros(2, 1, dtype=torch.bool)}
    expected = (
        model.get_audio_features(**inputs).pooler_output if projection else model.audio_model(**inputs).pooler_output
    )
    encoder, transform = ClapAudioEncoder(pretrained=folder, projection=projection), ClapTransform(pretrained=folder)
    z = encoder.eval()(pretrained.collated(transform, sounds))
    if projection:  # what its text is compared with, which the model's own method gives with unit norm
        z, expected = (torch.nn.functional.normalize(x, dim=-1) for x in (z, expected))
    assert_equal(z, expected)
    alone = torch.cat([encoder(pretrained.collated(transform, [sound])) for sound in sounds])
    together = encoder(pretrained.collated(transform, sounds))
    assert_equal(together, alone)
    assert len(encoder.layers()) == 3


def write_tower(family, tower_class, folder):
    """A folder of the audio tower alone, with its extractor, as transformers writes it; and the whole model's."""
    whole = pretrained.write(family, folder / "whole")
    tower = tower_class.from_pretrained(whole)
    tower.save_pretrained(folder / "tower")
    family()[1].save_pretrained(folder / "tower")
    return str(folder / "tower"), whole


@pytest.mark.slow
@torch.no_grad()
def test_the_tower_of_a_clap_alone_is_that_of_the_whole(tmp_path):
    folders = write_tower(pretrained.clap, t.ClapAudioModelWithProjection, tmp_path)
    inputs = pretrained.collated(ClapTransform(pretrained=folders[0]), pretrained.sounds(0.3, rate_hz=48_000))
    z, expected = (ClapAudioEncoder(pretrained=folder).eval()(inputs) for folder in folders)
    assert_equal(z, expected)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(("name", "width"), [("clap", 2 * pretrained.WIDTH), ("pe_av", 24)])
def test_features_before_the_projection_are_built_again(tmp_path, name, width):
    case = pretrained.CASES[name]
    folder = pretrained.write(case.family, tmp_path)
    encoder = case.encoder(pretrained=folder, projection=False).eval()
    again = case.encoder(**json.loads(json.dumps(encoder.saved_arguments())), projection=False).eval()
    again.load_state_dict(encoder.state_dict())
    z = encoder(case.inputs(folder))
    assert z.shape == (2, encoder.num_features) == (2, width)
    assert torch.equal(again(case.inputs(folder)), z)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("clap", "audio_projection.linear1.weight"),
        ("clap", "audio_model.audio_encoder.batch_norm.running_mean"),
        ("pe_av", "audio_encoder.layers.1.mlp.up_proj.weight"),
        ("pe_av", "audio_head.layer_norm.bias"),
    ],
)
def test_a_tower_that_lacks_a_weight_or_has_one_too_many_is_refused(tmp_path, name, part):
    case = pretrained.CASES[name]
    path = Path(pretrained.write(case.family, tmp_path)) / "model.safetensors"
    weights = load_file(path)
    [place] = [key for key in weights if f".{key}".endswith(f".{part}")]
    save_file({key: x for key, x in weights.items() if key != place}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 of the weights of its .*" + re.escape(part)):
        case.encoder(pretrained=str(tmp_path))
    more = place.removesuffix(part) + part.rpartition(".")[0] + ".unknown"
    save_file(weights | {more: torch.zeros(2)}, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"holds 1 weights for which its .* has no place .*unknown"):
        case.encoder(pretrained=str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "other"), [("clap", "pe_av"), ("pe_av", "clap")])
def test_a_folder_of_the_other_family_is_refused(tmp_path, name, other):
    folder = pretrained.write(pretrained.CASES[other].family, tmp_path)
    with pytest.raises(ValueError, match=r"is of the family .*, and this encoder is for .*docs/pretrained\.md"):
        pretrained.CASES[name].encoder(pretrained=folder)
    with pytest.raises(ValueError, match=r"this transform is for a "):
        pretrained.CASES[name].transform(pretrained=folder)


@pytest.mark.slow
def test_claps_extractor_never_draws(tmp_path):
    transform = ClapTransform(pretrained=pretrained.write(pretrained.clap, tmp_path))
    sounds = pretrained.sounds(0.2, 3.0, 7.0, rate_hz=48_000)
    state = np.random.get_state()[1].copy()
    first, second = (pretrained.collated(transform, sounds) for _ in range(2))
    assert torch.equal(first["input_features"], second["input_features"])
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.slow
@torch.no_grad()
def test_ast(tmp_path):
    folder = pretrained.write(pretrained.ast, tmp_path)
    sounds = pretrained.sounds(0.3, 0.64)
    encoder, transform = AstAudioEncoder(pretrained=folder).eval(), AstTransform(pretrained=folder)
    outputs = t.ASTModel.from_pretrained(folder).eval()(**extracted(t.ASTFeatureExtractor, folder, sounds))
    inputs = pretrained.collated(transform, sounds)
    assert_equal(encoder(inputs), outputs.pooler_output)
    tokens_BLF, mask_BL = encoder.tokens(inputs)
    assert_equal(tokens_BLF, outputs.last_hidden_state)
    assert mask_BL.shape == tokens_BLF.shape[:2]
    assert mask_BL.all()
    assert_equal(encoder(pretrained.collated(transform, sounds[:1])), outputs.pooler_output[:1])
    with pytest.raises(ValueError, match=r"window_seconds=2: ASTFeatureExtractor takes 0.64 s"):
        AstTransform(pretrained=folder, window_seconds=2.0)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("norm", ["layer", "group"])
@pytest.mark.parametrize("family", SPEECH)
def test_speech_models_over_waveforms(tmp_path, family, norm):
    saved_class, model_class = SPEECH[family]
    options = {"conv_pos_kernel_size": 3} if family == "data2vec" else {}
    saved_class = getattr(saved_class, "func", saved_class)
    folder = pretrained.write(partial(pretrained.speech, saved_class, norm, **options), tmp_path)
    sounds = pretrained.sounds(0.1, 0.25)
    encoder, transform = (
        Wav2Vec2AudioEncoder(pretrained=folder),
        Wav2Vec2Transform(pretrained=folder, window_seconds=0.3),
    )
    encoder.eval()
    inputs = extracted(
        t.Wav2Vec2FeatureExtractor, folder, sounds, padding="max_length", max_length=4800, return_attention_mask=True
    )
    model = model_class.from_pretrained(folder).eval()
    mask = {"attention_mask": inputs.attention_mask} if encoder.takes_mask else {}
    expected = model(inputs.input_values, **mask).last_hidden_state
    tokens_BLF, mask_BL = encoder.tokens(pretrained.collated(transform, sounds))
    assert_equal(tokens_BLF[mask_BL], expected[mask_BL])
    # A sound alone, without anything behind it, has as many tokens as its mask says.
    for sound, num_tokens, features_F in zip(
        sounds, mask_BL.sum(dim=1), encoder(pretrained.collated(transform, sounds)), strict=True
    ):
        one = extracted(t.Wav2Vec2FeatureExtractor, folder, [sound]).input_values
        tokens_LF = model(one).last_hidden_state[0]
        assert len(tokens_LF) == num_tokens
        if encoder.takes_mask and family != "data2vec":  # whose positions see the padding through their norms
            assert_equal(features_F, tokens_LF.mean(dim=0))
    assert_equal(
        encoder(pretrained.collated(transform, sounds[:1]))[0], encoder(pretrained.collated(transform, sounds))[0]
    )


@pytest.mark.slow
def test_speech_models_neither_mask_nor_leave_out_layers_in_training(tmp_path):
    family = partial(pretrained.speech, t.Wav2Vec2ForCTC, layerdrop=0.9, mask_time_prob=0.9, mask_feature_prob=0.9)
    quiet = dict.fromkeys(["hidden_dropout", "attention_dropout", "feat_proj_dropout", "activation_dropout"], 0.0)
    folder = pretrained.write(partial(family, **quiet), tmp_path)
    encoder = Wav2Vec2AudioEncoder(pretrained=folder).train()
    transform = Wav2Vec2Transform(pretrained=folder, window_seconds=0.3)
    inputs = pretrained.collated(transform, pretrained.sounds(0.3))
    assert_equal(encoder(inputs), encoder.eval()(inputs))


def write_audio_visual(folder):
    """A folder with the keys of a PE-AV model, whose audio part is that of a PE-Audio model."""
    pretrained.write(pretrained.pe_audio, folder)
    config = t.PeAudioVideoConfig(
        text_config=pretrained.PE_TEXT, audio_video_config={"audio_config": pretrained.PE_AUDIO}
    )
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    weights = {f"audio_model.{name}": x for name, x in load_file(folder / "model.safetensors").items()}
    weights |= {"video_model.x": torch.zeros(1), "audio_video_encoder.embedder.audio_encoder.x": torch.zeros(1)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.slow
@torch.no_grad()
def test_pe_audio(tmp_path):
    folder = pretrained.write(pretrained.pe_audio, tmp_path / "audio")
    sounds = pretrained.sounds(0.3, 0.5, rate_hz=48_000)
    inputs = extracted(t.PeAudioFeatureExtractor, folder, sounds, padding="max_length", max_length=28_800)
    model = t.PeAudioModel.from_pretrained(folder).eval()
    transform = PeAvTransform(pretrained=folder, window_seconds=0.6)
    encoder = PeAvAudioEncoder(pretrained=folder).eval()
    z = encoder(pretrained.collated(transform, sounds))
    assert_equal(z, model.get_audio_embeds(**inputs))
    assert_equal(encoder(pretrained.collated(transform, sounds[:1])), z[:1])
    plain = PeAvAudioEncoder(pretrained=folder, projection=False).eval()
    assert_equal(plain(pretrained.collated(transform, sounds)), model.audio_encoder(**inputs).pooler_output)


@pytest.mark.slow  # the config of the whole model takes seconds
@torch.no_grad()
def test_pe_audio_visual_has_the_same_audio_tower(tmp_path):
    audio = pretrained.write(pretrained.pe_audio, tmp_path / "audio")
    (tmp_path / "both").mkdir()
    both = write_audio_visual(tmp_path / "both")
    inputs = pretrained.CASES["pe_av"].inputs(both)
    z, expected = (PeAvAudioEncoder(pretrained=folder).eval()(inputs) for folder in (both, audio))
    assert_equal(z, expected)
