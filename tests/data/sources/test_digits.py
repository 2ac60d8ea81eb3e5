import numpy as np
import pytest

from bind.data.sources.digits import DIGIT_WORDS, digit_captions, digit_image, digit_scans


@pytest.mark.slow
def test_every_scan_has_one_split_and_every_digit_its_share():
    scans = digit_scans(seed=0)
    assert [scan.index for scan in scans] == list(range(1797))
    for digit in range(10):
        splits = [scan.split for scan in scans if scan.digit == digit]
        shares = {split: splits.count(split) / len(splits) for split in ("train", "val", "test")}
        assert shares == pytest.approx({"train": 0.6, "val": 0.2, "test": 0.2}, abs=0.005)


@pytest.mark.slow
def test_the_split_follows_from_the_seed():
    first, again, other = ([scan.split for scan in digit_scans(seed)] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_ink_is_dark_where_the_scan_has_it():
    scan = np.zeros((8, 8))
    scan[2, 5] = 16
    image = digit_image(scan)
    assert (image.shape, image.dtype) == ((64, 64, 3), np.uint8)
    assert image[16:24, 40:48].mean() < 100
    assert image[40:, :32].min() == 255
    with pytest.raises(ValueError, match="a scan is"):
        digit_image(np.zeros((4, 4)))


def test_each_caption_says_its_digit_and_no_other():
    for digit, word in enumerate(DIGIT_WORDS):
        for caption in digit_captions(digit):
            words = caption.replace(",", "").split()
            assert [w for w in DIGIT_WORDS if w in words] == [word]
    assert len(set(digit_captions(3))) == len(digit_captions(3)) >= 3
