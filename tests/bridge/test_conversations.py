"""Conversations in LLaVA's JSON, and what is wrong with some."""

import json
from pathlib import Path

import pytest

from bind.bridge.conversations import make_question, read_conversations, split_placeholders

KNOWN = ("image", "text", "audio")


def turns(*values):
    return [{"from": "gpt" if n % 2 else "human", "value": value} for n, value in enumerate(values)]


def write(folder, *entries):
    for name in ("a.png", "b.png", "s.wav"):
        (folder / name).write_bytes(b"")
    (folder / "talk.json").write_text(json.dumps(entries))
    return folder / "talk.json"


def test_conversations_have_their_inputs_in_the_order_of_the_placeholders(tmp_path):
    path = write(
        tmp_path,
        {"id": "7", "image": "a.png", "audio": "s.wav", "conversations": turns("<audio>\n<image>\nThe same?", "yes")},
        {"image": ["a.png", "b.png"], "conversations": turns("Which  is red?", "the\nfirst", "And blue?", "none")},
        {"id": "t", "text": "a star", "model": "x", "conversations": turns("What is it?\n<text>", "a star")},
    )
    a, b, c = read_conversations(path, KNOWN)
    assert (a.name, a.turns) == ("7", (("The same?", "yes"),))
    assert a.inputs == (("audio", tmp_path / "s.wav"), ("image", tmp_path / "a.png"))
    assert (b.name, [value.name for _, value in b.inputs]) == ("1", ["a.png", "b.png"])
    assert b.turns == (("Which is red?", "the first"), ("And blue?", "none"))
    assert (c.inputs, c.turns) == ((("text", "a star"),), (("What is it?", "a star"),))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"smell": "a.png", "conversations": turns("What?", "x")},
            "conversation 0: unknown modality 'smell'; .* image",
        ),
        ({"id": "q", "conversations": turns("What?", "x")}, "conversation q has a question without input"),
        ({"image": "c.png", "conversations": turns("What?", "x")}, "c.png: no such file"),
        ({"image": "a.png", "conversations": turns("What?")}, "each with its answer"),
        ({"image": "a.png", "conversations": turns("What?", " ")}, 'turn 1 has to be {"from": "gpt"'),
        ({"image": "a.png", "conversations": turns("<image>", "x")}, 'turn 0 has to be {"from": "human"'),
        ({"image": "a.png", "conversations": turns("What?", "x")[::-1]}, "turn 0 has to be"),
        (
            {"image": "a.png", "conversations": turns("<audio> What?", "x")},
            "placeholders are <audio>, and its inputs image",
        ),
        ("a star", "entry 0 is no mapping"),
    ],
)
def test_what_is_wrong_with_a_conversation_is_said_by_its_name(entry, message, tmp_path):
    path = write(tmp_path, entry)
    with pytest.raises(ValueError, match=message) as error:
        read_conversations(path, KNOWN)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", ["[]", "{}", "no JSON"])
def test_a_file_without_conversations_is_refused(content, tmp_path):
    (tmp_path / "talk.json").write_text(content)
    with pytest.raises(ValueError, match=r"talk.json: "):
        read_conversations(tmp_path / "talk.json", KNOWN)


def test_a_question_is_about_something_that_is_known():
    one = make_question("<text> <image> Is it?", {"image": Path("a.png"), "text": ["a star"]}, KNOWN)
    assert one.inputs == (("text", "a star"), ("image", Path("a.png")))
    assert one.turns == (("Is it?", None),)
    assert split_placeholders("no < image >") == ([], "no < image >")
    with pytest.raises(ValueError, match="the question is empty"):
        make_question("  ", {"image": "a.png"}, KNOWN)
    with pytest.raises(ValueError, match="something that it is about, such as audio=FILE"):
        make_question("What?", {}, KNOWN)
    with pytest.raises(ValueError, match="unknown modality 'imu'; this run embeds image, text, audio"):
        make_question("What?", {"imu": "a.npy"}, KNOWN)
