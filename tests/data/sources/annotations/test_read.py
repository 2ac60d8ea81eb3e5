"""Annotations are read alike from tables, ELAN and Audacity; what is wrong names the file and the line."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from bind.data.sources.annotations.columns import Annotations
from bind.data.sources.annotations.read import read_annotations
from bind.types import Annotation

WALK = Annotation("anna", 0.5, 12.25, ("a person walking", "walking"), "walking", "activity")
SIT = Annotation("ben", 3.0, 3.0, ("a person sitting",), None, "")

ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">{media}</HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="ts2"/>
    <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="2500"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="3000"/>
  </TIME_ORDER>
  <TIER TIER_ID="posture">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>standing</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
      <ANNOTATION_VALUE>sitting</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER TIER_ID="words" PARENT_REF="posture">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a4" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>still</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a1" PREVIOUS_ANNOTATION="a4">
      <ANNOTATION_VALUE>upright</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def test_tables_of_every_format_give_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "recording,start_seconds,end_seconds,text,label,kind\n"
        "anna,0.5,12.25,a person walking|walking,walking,activity\nben,3,3,a person sitting,,\n"
    )
    (tmp_path / "semicolons.csv").write_text(
        "Recording;Start_Seconds;end_seconds;text;label;kind\n"
        "anna;0,5;12,25;a person walking|walking;walking;activity\nben;3;3;a person sitting;;\n"
    )
    (tmp_path / "a.jsonl").write_text(
        '{"recording": "anna", "start_seconds": 0.5, "end_seconds": 12.25, "text": ["a person walking", "walking"], '
        '"label": "walking", "kind": "activity", "confidence": 0.5}\n'
        '{"recording": "ben", "start_seconds": 3, "end_seconds": 3, "text": "a person sitting"}\n'
    )
    columns = {
        "recording": ["anna", "ben"],
        "start_seconds": [0.5, 3.0],
        "end_seconds": [12.25, 3.0],
        "text": [["a person walking", "walking"], ["a person sitting"]],
        "label": ["walking", None],
        "kind": ["activity", None],
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    for name in ("a.csv", "semicolons.csv", "a.jsonl", "a.parquet"):
        annotations = read_annotations(tmp_path / name)
        assert list(annotations) == [WALK, SIT] == list(annotations[:]), name
    assert annotations.place(1).startswith(f"{tmp_path / 'a.parquet'} row 2 (ben 3-3 s: a person sitting")
    assert list(annotations.take(np.array([False, True]))) == [SIT] == list(annotations.take(np.array([1])))
    assert list(Annotations.of([WALK, SIT])) == [WALK, SIT]


def test_a_folder_of_exports_holds_a_file_per_recording(tmp_path: Path) -> None:
    (tmp_path / "anna.txt").write_text("0.5\t12.25\ta walk\n\\\t100.0\t2000.0\n\n13.0\t13.0\ta cough\n")
    (tmp_path / "ben.eaf").write_text(ELAN.format(media=""))
    assert list(read_annotations(tmp_path)) == [
        Annotation("anna", 0.5, 12.25, label="a walk"),
        Annotation("anna", 13.0, 13.0, label="a cough"),
        Annotation("ben", 0.5, 1.5, label="standing", kind="posture"),
        Annotation("ben", 1.5, 2.5, label="sitting", kind="posture"),
        Annotation("ben", 2.5, 3.0, label=None, kind="posture"),
        Annotation("ben", 0.5, 1.0, label="still", kind="words"),
        Annotation("ben", 1.0, 1.5, label="upright", kind="words"),
    ]


def test_another_zero_of_the_media_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    media = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/a/walk.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="1250"/>'
    (tmp_path / "ben.eaf").write_text(ELAN.format(media=media))
    with caplog.at_level(logging.WARNING):
        read_annotations(tmp_path / "ben.eaf")
    assert "its zero is 1.25 s into walk.mp4" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "recording,start_seconds,text\na,0,b\n", "'end_seconds' is missing"),
        ("a.csv", "recording,start_seconds,end_seconds,labels\na,0,1,b\n", r"'text or label' is missing"),
        ("a.csv", "recording,start_seconds,end_seconds,label\n,0,1,b\n", "line 2: every annotation needs the key"),
        ("a.csv", "recording,start_seconds,end_seconds,label\na,x,1,b\n", "line 2: 'start_seconds' must be seconds"),
        ("a.csv", "recording,start_seconds,end_seconds,label\na,nan,1,b\n", "line 2: times must be finite"),
        ("a.csv", "recording,start_seconds,end_seconds,label\na,-1,1,b\n", "line 2: times must be finite and not neg"),
        ("a.csv", "recording,start_seconds,end_seconds,label\na,2,1,b\n", "line 2: the annotation ends at 1 s, before"),
        ("a.csv", "recording,start_seconds,end_seconds,label\n", "no rows"),
        ("a.txt", "1.0\t2.0\twalk\nwalking from 2 to 3\n", "line 2: not start, end and label"),
        ("a.txt", "\n", "there are no annotations"),
        ("a.eaf", "<ANNOTATION_DOCUMENT>", "not readable as XML"),
        ("a.eaf", "<svg></svg>", "no ELAN file"),
        ("a.eaf", '<!DOCTYPE a [<!ENTITY b "c">]><ANNOTATION_DOCUMENT/>', "declares entities"),
        ("a.eaf", ELAN.format(media="").replace('TIME_SLOT_REF2="ts4"', 'TIME_SLOT_REF2="ts9"'), "refers to what is"),
        ("a.eaf", ELAN.format(media="").replace('ANNOTATION_REF="a1"', 'ANNOTATION_REF="a9"'), "refers to what is"),
        ("a.eaf", ELAN.format(media="").replace('TIME_VALUE="500"', ""), "times must be finite"),
        ("a.eaf", ELAN.format(media='<MEDIA_DESCRIPTOR TIME_ORIGIN="soon"/>'), "a time is no number"),
        ("a.srt", "1", "annotations end in"),
    ],
)
def test_what_is_wrong_names_file_and_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_annotations(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_no_file_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_annotations(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="in this folder"):
        read_annotations(tmp_path)
