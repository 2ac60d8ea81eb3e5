import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.planted import write_motion, write_rows

from bind.data.sources.toy.world import ToySource
from bind.studies.doctor.diagnose import diagnose
from bind.studies.doctor.envelope import motion_envelope
from bind.studies.doctor.offsets import lag_correlation, measure_offsets

NUM_SAMPLES, SECONDS, AUDIO_HZ, IMU_HZ = 10, 10, 4000, 100


@pytest.mark.slow
@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), num_a=st.integers(12, 40), num_b=st.integers(12, 40), max_lag=st.integers(0, 8))
def test_the_correlation_equals_the_naive_one_over_the_overlap(seed, num_a, num_b, max_lag):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=num_a), rng.normal(size=num_b) + 3
    naive = []
    for lag in range(-max_lag, max_lag + 1):
        pairs = [(a[t], b[t + lag]) for t in range(num_a) if 0 <= t + lag < num_b]
        naive.append(np.corrcoef(*zip(*pairs, strict=True))[0, 1])
    np.testing.assert_allclose(lag_correlation(a, b, max_lag), naive, atol=1e-9)


@pytest.mark.parametrize("rate_hz", [20.0, 50.0, 133.3])
def test_the_activity_of_a_sensor_is_where_it_moves_at_any_rate(rate_hz):
    t = np.arange(int(8 * rate_hz)) / rate_hz
    burst = np.exp(-(((t - 3.0) / 0.2) ** 2)) * np.sin(40 * t)
    envelope = motion_envelope(np.stack([5 + burst, 100 * burst, np.ones_like(t)], axis=1), rate_hz)
    assert len(envelope) == pytest.approx(8 * 50, abs=4)
    assert np.average(np.arange(len(envelope)) / 50, weights=envelope**2) == pytest.approx(3.0, abs=0.06)


def bursts(rng, seconds=SECONDS, rate_hz=50):
    t = np.arange(seconds * rate_hz) / rate_hz
    centres = rng.uniform(0, seconds, 12)
    return (rng.uniform(0.5, 1, 12) * np.exp(-(((t[:, None] - centres) / 0.12) ** 2))).sum(axis=1)


def streams(lag_of, seed=0):
    """Pairs of one activity seen twice, the second `lag_of(i)` seconds later, each with its own noise."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(NUM_SAMPLES):
        x = bursts(rng)
        y = np.roll(x, round(50 * lag_of(i)))
        pairs.append(tuple(z + 0.1 * rng.normal(size=len(z)) for z in (x, y)))
    return pairs


def test_streams_in_step_are_measured_and_fine():
    common, apart, note = measure_offsets(streams(lambda i: 0.0), range(NUM_SAMPLES))
    assert (common.seconds, len(common.positions), apart, note) == (0.0, NUM_SAMPLES, [], None)


@pytest.mark.parametrize("lag", [0.8, -1.2])
def test_a_common_offset_is_measured_with_its_sign(lag):
    common, apart, _ = measure_offsets(streams(lambda i: lag), range(NUM_SAMPLES))
    assert common.seconds == pytest.approx(lag, abs=0.03)
    assert apart == [common]
    assert common.positions == tuple(range(NUM_SAMPLES))


def test_one_sample_out_of_step_is_named_among_others():
    common, apart, _ = measure_offsets(streams(lambda i: 0.9 if i == 3 else 0.0), range(NUM_SAMPLES))
    assert common.seconds == 0.0
    assert [(offset.positions, offset.seconds) for offset in apart] == [((3,), 0.9)]


@pytest.mark.slow
def test_a_recording_whose_clock_is_off_is_found_where_no_sample_of_it_could_be():
    rng, noisy = np.random.default_rng(0), []
    for i in range(60):
        x = bursts(rng)
        noisy.append(tuple(z + 0.8 * rng.normal(size=500) for z in (x, np.roll(x, 30 if i % 3 == 1 else 0))))
    assert measure_offsets(noisy, range(60))[1] == []
    common, (apart,), _ = measure_offsets(noisy, [i % 3 for i in range(60)])
    assert common.is_tolerated
    assert apart.positions == tuple(range(1, 60, 3))
    assert apart.seconds == pytest.approx(0.6, abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_unrelated_streams_give_no_verdict(seed):
    rng = np.random.default_rng(seed)
    common, apart, note = measure_offsets([(bursts(rng), bursts(rng)) for _ in range(40)], [i // 10 for i in range(40)])
    assert (common, apart) == (None, [])
    assert "rises above chance" in note


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_steady_beat_gives_no_offset_of_a_beat(seed):
    rng = np.random.default_rng(seed)
    t = np.arange(500) / 50
    pairs = []
    for _ in range(20):
        beat = 1 + np.sin(2 * np.pi * (1.8 * t + rng.random()))
        pairs.append((beat + 0.3 * rng.normal(size=500), beat + 0.3 * rng.normal(size=500)))
    assert measure_offsets(pairs, range(20))[1] == []


@pytest.mark.slow
def test_a_start_that_all_recordings_share_is_no_evidence():
    rng = np.random.default_rng(0)
    t = np.arange(500) / 50
    pairs = [
        tuple(np.exp(-(((t - start) / 0.2) ** 2)) + 0.1 * rng.normal(size=500) for start in (1.0, 2.2))
        for _ in range(20)
    ]
    assert measure_offsets(pairs, range(20))[1] == []


def test_few_or_short_samples_are_not_judged():
    assert (
        measure_offsets(streams(lambda i: 1.0)[:7], range(7))[2]
        == "their offset can't be measured: 7 sample(s) with 4 s of both"
    )
    assert measure_offsets([(x[:150], y[:150]) for x, y in streams(lambda i: 1.0)], range(NUM_SAMPLES))[1] == []


def write_recordings(folder, delay_of):
    """Toy motion, five pieces in a row, and a sound of what moves, `delay_of(i)` seconds later."""
    source, rows = ToySource(num_train=NUM_SAMPLES * 5, modalities=["imu"]), []
    pieces = source.fetch("train", range(NUM_SAMPLES * 5), ["imu"], None)
    rng = np.random.default_rng(0)
    for i in range(NUM_SAMPLES):
        motion = np.concatenate([piece["imu"][0].values for piece in pieces[5 * i : 5 * i + 5]])
        write_motion(folder / f"{i}.csv", motion, IMU_HZ)
        loudness = motion_envelope(motion, IMU_HZ)
        loudness = np.roll(loudness, round(50 * delay_of(i)))
        sound = np.repeat(loudness, AUDIO_HZ // 50) * rng.normal(size=SECONDS * AUDIO_HZ)
        soundfile.write(folder / f"{i}.wav", 0.9 * sound / np.abs(sound).max(), AUDIO_HZ)
        rows.append({"key": str(i), "split": "train", "imu": f"{i}.csv", "audio": f"{i}.wav"})
    return write_rows(folder, rows)


@pytest.mark.slow
def test_motion_and_its_sound_are_in_step_in_clean_files_and_late_sound_is_found(tmp_path):
    diagnosis = diagnose(write_recordings(tmp_path, lambda i: 0.0))
    assert diagnosis.problems() == []
    assert abs(diagnosis.measured["offset of audio behind imu"]["seconds"]) <= 0.04

    (problem,) = diagnose(write_recordings(tmp_path, lambda i: 0.7 if i == 4 else 0.0)).problems()
    assert (problem.kind.name, problem.modality, problem.is_error) == ("streams out of step", "imu, audio", False)
    assert [(f.name, f.detail, f.keys) for f in problem.findings] == [("4.csv", "audio comes 0.70 s late", ("4",))]
