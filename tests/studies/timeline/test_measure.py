import pytest
from support import timelines

from bind.studies.timeline.measure import measure
from bind.timeline.fit import fit_parameters
from bind.timeline.parameters import Parameters


@pytest.mark.slow
def test_a_fit_is_better_than_none_on_other_recordings():
    fit = fit_parameters(*timelines.annotated(2))
    others, labels = timelines.annotated(2, seed=1)
    plain, fitted, with_none = (measure(others, labels, p) for p in (Parameters(), fit.without_none, fit.with_none))
    assert fitted.counts.frame_accuracy > 0.95
    assert fitted.counts.segment_f1 >= plain.counts.segment_f1
    assert fitted.calibration_error < 0.06
    assert with_none.none_auc > 0.97
    assert with_none.counts.frame_accuracy > fitted.counts.frame_accuracy - 0.03
