from bind.data.sources.toy.world import ToySource
from bind.report.gallery_notes import gallery_notes

TOY = ToySource(num_train=1)


def entry(r1, best=None, queries=2300):
    return {"R@1": r1, "queries": queries} | ({} if best is None else {"ceiling_R@1": best})


def test_what_both_sides_show_is_named_and_how_far_that_goes():
    note = gallery_notes({("imu", "audio"): entry(0.2, 0.12)}, [TOY])["imu", "audio"]
    assert note == (
        "What a motion trace and a sound have in common is motion and material, not shape, colour and size: several of "
        "the pool fit equally well, so that the right one can be first in about 12 of 100 tries; it is in 20."
    )


def test_of_a_fusion_all_inputs_count():
    fused = {"audio_and_imu": ("audio", "imu")}
    [note] = gallery_notes({("audio_and_imu", "image"): entry(0.5, 0.6)}, [TOY], fused).values()
    assert "in common is shape, size, motion and material, not colour:" in note


def test_nothing_is_said_where_nothing_is_known_or_all_can_be_found():
    figures = {("audio", "image"): entry(0.2), ("image", "text"): entry(0.9, 1.0)}
    assert gallery_notes(figures, [TOY]) == {}
    assert gallery_notes({("audio", "image"): entry(0.2, 0.3)}, [TOY, TOY]) == {}
