"""Parts of a binder under the names of another one's parts; what does not fit is named, by its key."""

import pytest
import torch

from bind.model.part_weights import rename_parts

TRUNK = {"encoders.audio.trunk.norm.bias": torch.ones(2), "encoders.audio.trunk.out.weight": torch.full((2, 2), 3.0)}
SAVED = TRUNK | {"encoders.audio.stem.norm.bias": torch.zeros(2), "heads.audio.project.weight": torch.full((4, 2), 5.0)}
OWN = [name.replace("audio", "imu") for name in SAVED]


def test_the_weights_of_a_part_have_the_names_of_the_one_that_takes_them():
    taken = rename_parts(SAVED, OWN, {"encoders.imu.trunk": "encoders.audio.trunk", "heads.imu": "heads.audio"})
    assert sorted(taken) == [
        "encoders.imu.trunk.norm.bias",
        "encoders.imu.trunk.out.weight",
        "heads.imu.project.weight",
    ]
    assert all(x is SAVED[name.replace("imu", "audio")] for name, x in taken.items())


def test_a_whole_encoder_is_a_part_and_one_part_may_be_taken_twice():
    own = [*OWN, *(name.replace("imu", "mine") for name in OWN)]
    taken = rename_parts(SAVED, own, {"encoders.imu": "encoders.audio", "encoders.mine": "encoders.audio"})
    assert len(taken) == 6
    assert torch.equal(taken["encoders.mine.stem.norm.bias"], torch.zeros(2))


def test_an_encoder_with_an_adapter_takes_those_of_a_plain_one():
    own = [name.replace(".out.", ".out.base_layer.") for name in OWN] + ["encoders.imu.trunk.out.lora_A.default.weight"]
    assert len(rename_parts(SAVED, own, {"encoders.imu.trunk": "encoders.audio.trunk"})) == 2


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"encoders.depth.trunk": "encoders.audio.trunk"},
            r"init_parts\.encoders\.depth\.trunk=encoders\.audio\.trunk: this binder has no encoders\.depth\.trunk, it "
            r"has encoders\.imu\.stem, encoders\.imu\.trunk, heads\.imu$",
        ),
        (
            {"encoders.imu.trunk": "encoders.imu.trunk"},
            r"hold no encoders\.imu\.trunk, they hold encoders\.audio\.stem, encoders\.audio\.trunk, heads\.audio$",
        ),
        ({"encoders.imu.tru": "encoders.audio.tru"}, r"this binder has no encoders\.imu\.tru, "),
        (
            {"encoders.imu.trunk": "heads.audio"},
            r"of heads\.audio missing \['norm\.bias', .*unexpected \['project\.weight'",
        ),
        (
            {"encoders.imu": "encoders.audio", "encoders.imu.trunk": "encoders.audio.trunk"},
            r"encoders\.imu\.trunk\.norm\.bias is in another of init_parts too",
        ),
    ],
)
def test_what_does_not_fit_is_named(parts, said):
    with pytest.raises(ValueError, match=said):
        rename_parts(SAVED, OWN, parts)
