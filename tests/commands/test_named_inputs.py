"""Inputs on a command line beside words and options."""

import pytest

from bind.commands.named_inputs import find_files, read_named_inputs, require_modalities

OPTIONS = ("run", "gap")


def test_inputs_are_files_patterns_and_texts_in_their_order(tmp_path):
    for name in ("a.wav", "b.wav", "c=d.png"):
        (tmp_path / name).write_bytes(b"")
    arguments = [f"image={tmp_path / 'c=d.png'}", "text=a dog = good", f"audio={tmp_path}/*.wav", "gap=mean"]
    named = read_named_inputs(arguments, OPTIONS)
    inputs = find_files(named.inputs, are_patterns=True)
    assert [m for m, _ in inputs] == ["image", "text", "audio", "audio"]
    assert [value for _, value in inputs][:2] == [str(tmp_path / "c=d.png"), "a dog = good"]
    assert (named.words, named.options) == ([], {"gap": "mean"})
    named = read_named_inputs(["Is it A=B?", f"audio={tmp_path / 'a.wav'}"], OPTIONS)
    assert named.words == ["Is it A=B?"]
    assert find_files(named.inputs, are_patterns=False) == named.inputs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gap=mean", "gap=noise"], r"gap=noise: there is a gap already \(mean\)"),
        (["audio="], "audio=: write audio=VALUE"),
        (["audio=nowhere.wav"], r"audio=nowhere\.wav: no such file"),
        (["audio=nowhere/*.wav"], r"audio=nowhere/\*\.wav: no such file"),
    ],
)
@pytest.mark.parametrize("are_patterns", [True, False])
def test_what_names_nothing_is_refused(arguments, message, are_patterns):
    with pytest.raises(ValueError, match=message):
        find_files(read_named_inputs(arguments, OPTIONS).inputs, are_patterns=are_patterns)


def test_a_misspelt_option_is_no_modality():
    with pytest.raises(ValueError, match="gpa=mean: this run embeds no gpa but image, text; the options are run, gap"):
        require_modalities([("text", "a"), ("gpa", "mean")], ["image", "text"], OPTIONS)


def test_only_some_options_have_children():
    named = read_named_inputs(["gap.image=mean", "run.image=x", "gap=noise"], OPTIONS, parents=("gap",))
    assert named.options == {"gap.image": "mean", "gap": "noise"}
    with pytest.raises(ValueError, match=r"run\.image=x: this run embeds no run\.image but image"):
        require_modalities(named.inputs, ("image", "text"), OPTIONS)
    with pytest.raises(ValueError, match=r"gap\.image=noise: there is a gap\.image already"):
        read_named_inputs(["gap.image=mean", "gap.image=noise"], OPTIONS, parents=("gap",))
