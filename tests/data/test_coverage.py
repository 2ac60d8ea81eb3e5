import pytest

from bind.data.coverage import require_pairs
from bind.types import Sample


class Rows:
    """Samples that have the modalities of each word, `audio+image`."""

    def __init__(self, name, **splits):
        self.name = name
        self.rows = splits

    def samples(self, split):
        return [
            Sample(f"{self.name}/{split}/{i}", split, dict.fromkeys(row.split("+"), ()))
            for i, row in enumerate(self.rows[split])
        ]


PAIR = {"audio-image": (("audio",), ("image",))}
FUSED = {"audio_and_imu-image": (("audio", "imu"), ("image",))}


def test_one_row_with_both_sides_is_enough():
    require_pairs([Rows("a", train=["audio", "audio+image"])], "train", PAIR)
    require_pairs([Rows("a", train=["audio"]), Rows("b", train=["image+audio"])], "train", PAIR)
    require_pairs([Rows("a", train=["imu+image"])], "train", FUSED)


def test_the_split_the_pair_and_the_closest_name_are_in_the_message():
    source = Rows("mine", train=["audio+image"], val=["audoi+image"])
    require_pairs([source], "train", PAIR)
    with pytest.raises(
        ValueError, match=r"pairs\.audio-image: no sample in split 'val' of mine has audio; did you mean 'audoi'\?"
    ):
        require_pairs([source], "val", PAIR)


def test_two_sides_that_never_meet_are_refused():
    with pytest.raises(
        ValueError, match=r"pairs\.audio-image: .*'train' of a, b has both audio and image; put what belongs"
    ):
        require_pairs([Rows("a", train=["audio"]), Rows("b", train=["image"])], "train", PAIR)
    with pytest.raises(ValueError, match="has both audio or imu and image"):
        require_pairs([Rows("a", train=["audio+imu", "image"])], "train", FUSED)
