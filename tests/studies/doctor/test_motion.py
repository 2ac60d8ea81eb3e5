import numpy as np
import pytest

from bind.data.transforms.imu import random_rotation
from bind.studies.doctor.findings import FileFacts
from bind.studies.doctor.gravity import find_triads, measure_motion
from bind.studies.doctor.motion import compare_recordings
from bind.types import SensorRecording

RATE_HZ = 50.0
CHANNELS = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
UNITS = ("g", "g", "g", "rad/s", "rad/s", "rad/s")


def turning(seed, seconds=40.0, gentle=0.15):
    """A body that sways about its upright posture: gravity in its own axes, and the true turn rate, both with noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    hz, phase = rng.uniform(0.05, 0.25, (3, 4)), rng.uniform(0, 6.28, (3, 4))
    omega = gentle * np.sin(2 * np.pi * t[:, None, None] * hz + phase).sum(axis=2)
    gravity = np.empty((len(t), 3))
    gravity[0] = [0.0, 0.0, 1.0]
    for i in range(1, len(t)):
        gravity[i] = gravity[i - 1] - np.cross(omega[i - 1], gravity[i - 1]) / RATE_HZ
        gravity[i] /= np.linalg.norm(gravity[i])
    shakes = 0.05 * np.sin(2 * np.pi * 2.0 * t)[:, None] * rng.normal(size=3)
    noise = rng.normal(size=(2, len(t), 3))
    return np.concatenate([gravity + shakes + 0.02 * noise[0], omega + 0.02 * noise[1]], axis=1)


def kinds(recordings):
    files = {name: FileFacts([], rate_hz=r.sample_rate_hz, motion=measure_motion(r)) for name, r in recordings.items()}
    faults, _ = compare_recordings(files)
    return {name: [fault.kind.name for fault in found] for name, found in faults.items() if found}


@pytest.fixture(scope="module")
def corpus():
    return {f"{seed}.npy": SensorRecording(turning(seed), RATE_HZ, CHANNELS, UNITS) for seed in range(6)}


def planted(corpus, edit=lambda x: x, units=UNITS):
    return corpus | {"0.npy": SensorRecording(edit(corpus["0.npy"].values), RATE_HZ, CHANNELS, units)}


@pytest.mark.slow
def test_recordings_that_obey_physics_are_fine_and_their_scale_is_one(corpus):
    assert kinds(corpus) == {}
    motion = measure_motion(corpus["0.npy"])
    assert motion.turn_fit > 0.8
    assert motion.turn_scale == pytest.approx(1.0, abs=0.15)
    assert motion.best_order == "x, y, z"


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["deg/s", "m/s^2"])
def test_other_units_that_are_declared_are_fine(corpus, unit):
    degrees = (UNITS[:3] + ("deg/s",) * 3, [1] * 3 + [180 / np.pi] * 3)
    metres = (("m/s^2",) * 3 + UNITS[3:], [9.80665] * 3 + [1] * 3)
    units, factors = degrees if unit == "deg/s" else metres
    assert kinds({n: SensorRecording(r.values * factors, RATE_HZ, CHANNELS, units) for n, r in corpus.items()}) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "units", "kind"),
    [
        (lambda x: x * ([1] * 3 + [57.3] * 3), UNITS, "unit of turn rate contradicts the motion"),
        (lambda x: x, UNITS[:3] + ("deg/s",) * 3, "unit of turn rate contradicts the motion"),
        (lambda x: x[:, [0, 1, 2, 4, 3, 5]], UNITS, "gyroscope's axes contradict the accelerometer's"),
        (lambda x: x * [1, 1, 1, -1, -1, -1], UNITS, "gyroscope's axes contradict the accelerometer's"),
        (lambda x: x[:, [3, 4, 5, 0, 1, 2]], UNITS, "accelerometer and gyroscope exchanged"),
        (lambda x: x * ([9.80665] * 3 + [1] * 3), UNITS, "unit of acceleration contradicts gravity"),
        # Reshaped where it should have been transposed: every column holds all channels in turn.
        (lambda x: x.T.reshape(x.shape), UNITS, "gravity missing or out of scale"),
    ],
)
def test_what_contradicts_gravity_is_named(corpus, edit, units, kind):
    assert kinds(planted(corpus, edit, units)) == {"0.npy": [kind]}


@pytest.mark.slow
def test_axes_of_both_sensors_exchanged_alike_are_seen_by_the_other_files(corpus):
    upright = {n: SensorRecording(r.values[:250], RATE_HZ, CHANNELS, UNITS) for n, r in corpus.items()}
    assert kinds(upright) == {}
    swapped = planted(upright, lambda x: x[:, [2, 1, 0, 5, 4, 3]])
    assert kinds(swapped) == {"0.npy": ["axes unlike the rest"]}


@pytest.mark.slow
def test_sensors_worn_in_any_way_are_not_compared_by_direction(corpus):
    rng = np.random.default_rng(0)
    turned = {}
    for name, recording in corpus.items():
        rotation = random_rotation(180.0, rng)
        values = np.concatenate([recording.values[:, :3] @ rotation.T, recording.values[:, 3:] @ rotation.T], axis=1)
        turned[name] = SensorRecording(values, RATE_HZ, CHANNELS, UNITS)
    assert kinds(turned) == {}


def test_a_corpus_without_gravity_is_no_fault_and_is_said(corpus):
    linear = {
        n: FileFacts([], motion=measure_motion(SensorRecording(r.values - r.values.mean(0), RATE_HZ, CHANNELS, UNITS)))
        for n, r in ((n, SensorRecording(r.values[:500], RATE_HZ, CHANNELS, UNITS)) for n, r in corpus.items())
    }
    faults, notes = compare_recordings(linear)
    assert not any(faults.values())
    assert "show no gravity" in notes[0]


def test_degrees_that_stay_below_what_radians_reach_are_a_question():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 6)) * ([0.3] * 3 + [2.0] * 3) + [0, 0, 1, 0, 0, 0]
    recordings = {"a": SensorRecording(values, RATE_HZ, CHANNELS, UNITS[:3] + ("deg/s",) * 3)}
    assert kinds(recordings) == {"a": ["turn rate small for its unit"]}


@pytest.mark.slow
def test_units_that_are_not_known_are_not_judged(corpus):
    units = ("counts",) * 3 + UNITS[3:]
    files = {
        n: FileFacts([], motion=measure_motion(SensorRecording(r.values, RATE_HZ, CHANNELS, units)))
        for n, r in corpus.items()
    }
    faults, notes = compare_recordings(files)
    assert not any(faults.values())
    assert "accelerations in counts were not judged" in notes[0]


def test_triads_are_found_by_the_names_in_use():
    assert find_triads(("gyro_y", "accl_x", "accl_y", "accl_z", "gyro_x", "gyro_z")) == {
        "gyr": [4, 0, 5],
        "acc": [1, 2, 3],
    }
    assert find_triads(("acc_x", "acc_y", "temperature")) == {}


@pytest.mark.slow
def test_a_file_of_another_rate_is_judged_all_the_same(corpus):
    units = (*UNITS[:3], "deg/s", "deg/s", "deg/s")
    odd = corpus | {f"{n}.npy": corpus["1.npy"] for n in range(6, 12)}
    odd["0.npy"] = SensorRecording(corpus["0.npy"].values[::2], RATE_HZ / 2, CHANNELS, units)
    assert kinds(odd) == {"0.npy": ["rate unlike the rest", "unit of turn rate contradicts the motion"]}


def test_an_accelerometer_alone_is_judged_without_a_word_on_gyroscopes(corpus):
    alone = {
        n: FileFacts([], motion=measure_motion(SensorRecording(r.values[:, :3], RATE_HZ, CHANNELS[:3], UNITS[:3])))
        for n, r in corpus.items()
    }
    faults, notes = compare_recordings(alone)
    assert (any(faults.values()), notes) == (False, [])
