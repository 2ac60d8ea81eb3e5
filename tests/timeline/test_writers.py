from xml.etree import ElementTree

import pytest

from bind.data.sources.annotations.read import read_annotations
from bind.timeline.segments import Segment
from bind.timeline.writers import WRITERS

SEGMENTS = [
    Segment(0.0, 12.25, "walking & <talking>", 0.9),
    Segment(12.25, 12.5, "sitting, quietly", 0.5),
    Segment(20.0, 3600.125, "Größe\tändern", 1.0),
]


@pytest.mark.parametrize("ending", list(WRITERS))
def test_what_is_written_is_read_as_annotations(tmp_path, ending):
    path = tmp_path / f"day{ending}"
    WRITERS[ending](path, SEGMENTS, tmp_path / "day.npy")
    annotations = list(read_annotations(path))
    assert [(a.recording, a.start_seconds, a.end_seconds) for a in annotations] == [
        ("day", s.start_seconds, s.end_seconds) for s in SEGMENTS
    ]
    assert [" ".join(a.label.split()) for a in annotations] == [" ".join(s.label.split()) for s in SEGMENTS]


def test_elan_finds_the_recording_beside_its_tier(tmp_path):
    recording = tmp_path / "day one.wav"
    recording.write_bytes(b"")
    WRITERS[".eaf"](tmp_path / "day.eaf", SEGMENTS, recording)
    root = ElementTree.parse(tmp_path / "day.eaf").getroot()
    assert root.find("HEADER/MEDIA_DESCRIPTOR").get("MEDIA_URL") == recording.as_uri()
    assert root.find("TIER").get("TIER_ID") == "bind"
