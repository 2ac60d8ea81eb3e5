"""What holds for every family: built again without its files, BatchNorm, layers, what it refuses."""

import json
import shutil
from functools import partial

import pytest
import torch
import transformers as t
from safetensors.torch import load_file, save_file
from support import pretrained

from bind.encoders.pretrained.clap import ClapAudioEncoder
from bind.encoders.pretrained.patchtst import PatchTstEncoder
from bind.encoders.pretrained.vision import VisionEncoder
from bind.encoders.pretrained.whisper import WhisperAudioEncoder
from bind.encoders.trainable import set_trained_part
from bind.types import LayeredEncoder, LoadedPart, TokenEncoder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {
        name: pretrained.write(case.family, tmp_path_factory.mktemp(name)) for name, case in pretrained.CASES.items()
    }


@pytest.fixture(params=pretrained.CASES)
def name(request):
    return request.param


@pytest.mark.slow
@torch.no_grad()
def test_built_again_without_its_files_it_gives_the_same(folders, name):
    case, folder = pretrained.CASES[name], folders[name]
    encoder = case.encoder(pretrained=folder, **case.options).eval()
    assert isinstance(encoder, LoadedPart)
    arguments = json.loads(json.dumps(encoder.saved_arguments()))
    assert arguments["pretrained"] is None
    assert folder not in json.dumps(arguments)
    again = case.encoder(**arguments, **case.options).eval()
    again.load_state_dict(encoder.state_dict())
    inputs = case.inputs(folder)
    z = encoder(inputs)
    assert z.shape == (2, encoder.num_features)
    assert z.std() > 0.01
    torch.testing.assert_close(again(inputs), z, atol=1e-6, rtol=0)
    if case.transform:
        settings = json.loads(json.dumps(case.transform(pretrained=folder).saved_arguments()))
        assert folder not in json.dumps(settings)
        inputs_again = pretrained.collated(case.transform(**settings), case.values())
        torch.testing.assert_close(inputs_again, inputs, atol=0, rtol=0)
    if isinstance(encoder, TokenEncoder):
        tokens_BLF, mask_BL = encoder.tokens(inputs)
        assert tokens_BLF.shape == (2, mask_BL.shape[1], encoder.num_features)
        assert mask_BL.dtype == torch.bool


@pytest.mark.slow
def test_weights_are_fp32_and_layers_in_order(folders, name):
    case = pretrained.CASES[name]
    encoder = case.encoder(pretrained=folders[name], **case.options)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert isinstance(encoder, LayeredEncoder)
    names = {id(module): name for name, module in encoder.named_modules()}
    assert [names[id(layer)] for layer in encoder.layers()] == sorted(names[id(layer)] for layer in encoder.layers())
    set_trained_part(encoder, "last_1", f"encoder.{case.modality}")
    trained = {id(p) for p in encoder.parameters() if p.requires_grad}
    assert {id(p) for p in encoder.layers()[-1].parameters() if p.requires_grad} <= trained
    assert not any(p.requires_grad for p in encoder.layers()[0].parameters())
    case.encoder(pretrained=folders[name], **case.options)(case.inputs(folders[name])).sum().backward()


def order_of_run(encoder, inputs):
    """Names of the modules with weights of their own, in the order in which a forward uses them."""
    names = {id(module): name for name, module in encoder.named_modules()}
    order = []
    hooks = [
        module.register_forward_pre_hook(lambda module, _: order.append(names[id(module)]))
        for module in encoder.modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    encoder(inputs)
    for hook in hooks:
        hook.remove()
    return order


STABLE = {"do_stable_layer_norm": True}
SPEECH = {
    "wav2vec2, norm last": partial(pretrained.speech, t.Wav2Vec2Model, **STABLE),
    "hubert, norm last": partial(pretrained.speech, t.HubertModel, **STABLE),
    "wavlm, norm last": partial(pretrained.speech, t.WavLMModel, **STABLE),
    "wavlm": partial(pretrained.speech, t.WavLMModel),
    "unispeech, norm last": partial(pretrained.speech, t.UniSpeechModel, **STABLE),
    "unispeech-sat, norm last": partial(pretrained.speech, t.UniSpeechSatModel, **STABLE),
    "data2vec": partial(pretrained.speech, t.Data2VecAudioModel, conv_pos_kernel_size=3),
    "conformer": partial(pretrained.speech, t.Wav2Vec2ConformerModel, conv_depthwise_kernel_size=3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*pretrained.CASES, *SPEECH])
def test_what_runs_behind_the_layers_trains_with_the_last_of_them(folders, tmp_path, name):
    case = pretrained.CASES["wav2vec2" if name in SPEECH else name]
    folder = pretrained.write(SPEECH[name], tmp_path) if name in SPEECH else folders[name]
    encoder = case.encoder(pretrained=folder, **case.options)
    order = order_of_run(encoder, case.inputs(folder))
    set_trained_part(encoder, "last_1", f"encoder.{case.modality}")
    of_last = {n for n, module in encoder.named_modules() if module in set(encoder.layers()[-1].modules())}
    places = [i for i, n in enumerate(order) if n in of_last]
    trains = {n: any(p.requires_grad for p in encoder.get_submodule(n).parameters(recurse=False)) for n in order}
    is_norm = {n: isinstance(encoder.get_submodule(n), torch.nn.modules.batchnorm._BatchNorm) for n in order}
    assert [n for n in order[: places[0]] if trains[n] and n not in order[places[0] :]] == []
    assert [n for n in order[places[0] :] if not trains[n] and not is_norm[n]] == []


@pytest.mark.slow
@pytest.mark.parametrize("family", ["clap", "patchtst"])
def test_running_statistics_stay_as_they_were_loaded(folders, family):
    case = pretrained.CASES[family]
    encoder = case.encoder(pretrained=folders[family])
    before = {name: x.clone() for name, x in encoder.named_buffers() if "running" in name}
    assert before
    encoder.train()(case.inputs(folders[family]))
    assert all(torch.equal(x, before[name]) for name, x in encoder.named_buffers() if name in before)
    assert encoder.training


def copied(folders, name, tmp_path):
    return shutil.copytree(folders[name], tmp_path / name)


def with_weights(folder, change):
    weights = change(load_file(folder / "model.safetensors"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.slow
def test_missing_weights_are_named(folders, tmp_path):
    name = "model.encoder.layers.1.fc1.weight"
    folder = with_weights(
        copied(folders, "whisper", tmp_path), lambda weights: {k: x for k, x in weights.items() if k != name}
    )
    with pytest.raises(ValueError, match=r"lacks 1 of the weights of its WhisperEncoder.*layers\.1\.fc1\.weight"):
        WhisperAudioEncoder(pretrained=folder)


@pytest.mark.slow
def test_weights_of_another_shape_are_named(folders, tmp_path):
    name = "model.encoder.layers.1.fc1.weight"
    folder = with_weights(copied(folders, "whisper", tmp_path), lambda weights: weights | {name: torch.zeros(3, 3)})
    with pytest.raises(ValueError, match=r"lacks 1 of the weights of its WhisperEncoder.*layers\.1\.fc1\.weight"):
        WhisperAudioEncoder(pretrained=folder)


@pytest.mark.slow
def test_weights_that_fit_nowhere_are_named(folders, tmp_path):
    folder = with_weights(
        copied(folders, "whisper", tmp_path),
        lambda weights: weights | {"model.encoder.layers.7.fc1.weight": torch.zeros(2)},
    )
    with pytest.raises(ValueError, match=r"holds 1 weights for which its WhisperEncoder has no place.*layers\.7"):
        WhisperAudioEncoder(pretrained=folder)


@pytest.mark.slow
def test_weights_of_other_parts_are_named_in_the_log(folders, caplog):
    with caplog.at_level("INFO", logger="bind"):
        ClapAudioEncoder(pretrained=folders["clap"])
    assert "left out: logit_scale_a (1), logit_scale_t (1), text_model (" in caplog.text


@pytest.mark.slow
def test_a_folder_of_another_family_is_refused(folders):
    with pytest.raises(ValueError, match=r"is of the family 'clap', and this encoder is for whisper"):
        WhisperAudioEncoder(pretrained=folders["clap"])
    transform = pretrained.CASES["whisper"].transform
    with pytest.raises(ValueError, match="has a ClapFeatureExtractor, and this transform is for a WhisperFeature"):
        transform(pretrained=folders["clap"])
    with pytest.raises(ValueError, match=r"is a PatchTSTModel, which takes no pictures"):
        VisionEncoder(pretrained=folders["patchtst"])


def test_an_unknown_family_is_refused(folders, tmp_path):
    folder = copied(folders, "depth", tmp_path)
    (folder / "config.json").write_text('{"model_type": "of_tomorrow"}')
    with pytest.raises(ValueError, match="'of_tomorrow', which this transformers does not know"):
        VisionEncoder(pretrained=str(folder))


def test_pickles_are_not_read(folders, tmp_path, capsys):
    class Command:
        def __reduce__(self):
            return print, ("this ran",)

    folder = copied(folders, "patchtst", tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Command()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pickle \(\.bin\).*save_pretrained"):
        PatchTstEncoder(pretrained=str(folder))
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.slow
def test_code_that_a_folder_names_is_not_fetched(folders, tmp_path, monkeypatch):
    """Attention kernels on the hub are code: a config that names them is read without."""
    folder = copied(folders, "whisper", tmp_path)
    described = json.loads((folder / "config.json").read_text())
    named = {"attn_implementation": "someone/kernel", "_attn_implementation": "someone/kernel", "auto_map": {"A": "b"}}
    (folder / "config.json").write_text(json.dumps(described | named))
    encoder = WhisperAudioEncoder(pretrained=str(folder))
    assert encoder.trunk.config._attn_implementation in ("sdpa", "eager")
    arguments = encoder.saved_arguments()
    assert not named.keys() & arguments["architecture"].keys()
    again = WhisperAudioEncoder(architecture=arguments["architecture"] | named)
    assert again.trunk.config._attn_implementation in ("sdpa", "eager")


def test_a_hub_id_without_network_says_how_to_pass_a_folder(monkeypatch):
    requests = []

    def no_network(self, repo_id, **_):
        requests.append(repo_id)
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_network)
    with pytest.raises(
        ValueError, match=r"(?s)pretrained=no-one/nothing .*Name or service.*pretrained=/path/to/folder"
    ):
        WhisperAudioEncoder(pretrained="no-one/nothing")
    assert requests == ["no-one/nothing"]


def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id():
    for place in ("/models/none", "./none", "models/of/none"):
        with pytest.raises(ValueError, match=rf"^pretrained={place}: there is no such folder, and a hub id"):
            WhisperAudioEncoder(pretrained=place)


def test_neither_weights_nor_architecture_or_both(folders):
    for arguments in ({}, {"pretrained": folders["whisper"], "architecture": {"model_type": "whisper"}}):
        with pytest.raises(ValueError, match="set pretrained to a hub id or local folder; or pretrained=null and arch"):
            WhisperAudioEncoder(**arguments)


@pytest.mark.parametrize(
    "architecture",
    [
        {"model_type": "whisper", "d_model": "wide"},
        {"model_type": "whisper", "d_model": 10, "encoder_attention_heads": 3},
        {"model_type": "clap"},
        {},
    ],
)
def test_an_architecture_that_can_not_be_is_refused(architecture):
    with pytest.raises(ValueError, match="architecture"):
        WhisperAudioEncoder(architecture=architecture)


@pytest.mark.slow
def test_inputs_of_another_transform_name_the_right_one(folders):
    with pytest.raises(ValueError, match=r"takes input_features and attention_mask.*transform/audio=whisper"):
        WhisperAudioEncoder(pretrained=folders["whisper"])(torch.zeros(2, 16_000))
