import json
from dataclasses import replace

import numpy as np
import pytest
from support import timelines

from bind.timeline.annotated import OTHER, UNLABELLED, AnnotatedRecording, EmbeddedStretch
from bind.timeline.fit import NUM_STEPS, fit_parameters
from bind.timeline.fits import FILE_NAME, fit_name, read_parameters, write_parameters
from bind.timeline.labels import Labels
from bind.timeline.none_confidence import NoneConfidence
from bind.timeline.segments import NONE, Segment


@pytest.fixture(scope="module")
def fit():
    """With a confidence, for which too few of these answers are wrong."""
    fit = fit_parameters(*timelines.annotated(1))
    confidence = NoneConfidence(0.5, -0.25, 0.5, 1.0, -1.0, 0.75, 0.125, 0.5)
    return replace(fit, with_none=replace(fit.with_none, none_confidence=confidence))


@pytest.mark.slow
def test_without_time_between_annotations_there_is_no_none_of_these():
    recordings, labels = timelines.annotated(1)
    steps = []
    filled = [AnnotatedRecording(r.name, r.stretches, r.filled(labels.names).true, 0.5, 0.5) for r in recordings]
    named = Labels((*labels.names, "rest"), np.eye(4, 16, dtype=np.float32), "1")
    full = [
        AnnotatedRecording(
            r.name, r.stretches,
            [Segment(s.start_seconds, s.end_seconds, "rest" if s.label == NONE else s.label) for s in r.true], 0.5, 0.5,
        )
        for r in filled
    ]  # fmt: skip
    fit = fit_parameters(full, named, on_step=lambda: steps.append(0))
    assert fit.with_none is None
    assert 0 < len(steps) <= NUM_STEPS


def test_labels_that_nobody_gave_are_one_message():
    recordings, labels = timelines.annotated(1)
    other = Labels(("x", "y"), labels.z_KD[:2], "1")
    with pytest.raises(ValueError, match="none of the annotations has one of the labels x, y; they have a, b, c"):
        fit_parameters(recordings, other)


def test_true_numbers_name_what_is_unlabelled_and_what_is_other():
    recording = AnnotatedRecording(
        "day", [EmbeddedStretch(0.0, 6.0, np.zeros((6, 2)))], [Segment(1, 2, "a"), Segment(3, 4, "z")], 1.0, 1.0
    )
    numbers = recording.true_numbers(recording.stretches[0], ["b", "a"])
    assert numbers.tolist() == [UNLABELLED, 1, UNLABELLED, OTHER, UNLABELLED, UNLABELLED]
    assert [(s.start_seconds, s.end_seconds, s.label) for s in recording.filled(["a"]).true] == [
        (0.0, 1, NONE), (1, 2, "a"), (2, 3, NONE), (4, 6.0, NONE),
    ]  # fmt: skip


@pytest.mark.slow
def test_parameters_are_written_and_read(fit, tmp_path):
    names = [fit_name("imu", "0123", 0.5, none=none) for none in (False, True)]
    for name, parameters in zip(names, (fit.without_none, fit.with_none), strict=True):
        write_parameters(tmp_path, name, parameters, {"labels": ["a"]})
    assert [read_parameters(tmp_path, name, 3) for name in names] == [fit.without_none, fit.with_none]
    assert read_parameters(tmp_path, "another", 3) is None
    assert read_parameters(tmp_path / "nowhere", names[0], 3) is None


@pytest.mark.slow
def test_earlier_fits_are_read(fit, tmp_path):
    """Whose lines for the confidence saw less, or which had none."""
    path = write_parameters(tmp_path, "it", fit.with_none, {})
    content = json.loads(path.read_text())
    for name in ("alone_weight", "to_change_weight", "own_alone_weight"):
        content["fits"]["it"]["parameters"]["none_confidence"].pop(name)
    path.write_text(json.dumps(content))
    assert read_parameters(tmp_path, "it", 3).none_confidence == NoneConfidence(0.5, -0.25, 0.5, 1.0, -1.0, 0, 0, 0)
    content["fits"]["it"]["parameters"].pop("none_confidence")
    path.write_text(json.dumps(content))
    assert read_parameters(tmp_path, "it", 3) == replace(fit.with_none, none_confidence=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, f: c.update(version=9), "has version 9, this bind reads 1: delete it, and fit again"),
        (lambda c, f: f["parameters"].update(temperature=-1), "a temperature"),
        (lambda c, f: f["parameters"].update(log_transitions_KK=[[0.0]]), "a matrix of 4 rows"),
        (lambda c, f: f["parameters"]["log_transitions_KK"][0].pop(), "4 numbers"),
        (lambda c, f: f["parameters"]["none_detector"].update(scales=[0, 1, 1, 1]), "a scale above 0"),
        (lambda c, f: f["parameters"]["none_detector"].update(weights=["1", 1, 1, 1]), "a finite number"),
        (lambda c, f: f["parameters"].update(none_confidence={"own_bias": 1.0}), "has no label_weight"),
        (lambda c, f: f["parameters"].update(none_confidence=[1.0]), "none_confidence is"),
        (lambda c, f: f["parameters"]["none_confidence"].update(alone_weight=float("nan")), "a finite number"),
        (lambda c, f: f.pop("parameters"), "parameters"),
    ],
)
def test_a_damaged_fit_is_one_message(fit, tmp_path, change, message):
    write_parameters(tmp_path, "it", fit.with_none, {})
    path = tmp_path / FILE_NAME
    content = json.loads(path.read_text())
    change(content, content["fits"]["it"])
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        read_parameters(tmp_path, "it", 3)
    assert str(path) in str(error.value)
