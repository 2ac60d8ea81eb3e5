"""Renderer of the toy world's sounds: an object of some shape and material that touches the ground.

Shape sets the ratios of the ringing modes, material how long they ring and what the contact itself adds, motion the
rhythm of the contacts. Modes start at random phases, so nothing can be read linearly from the raw waveform.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SAMPLE_RATE_HZ = 16_000
NUM_SAMPLES = 16_000

# Rows follow the words of `bind.data.sources.toy.world.FACTORS`.
BASE_HZ = 420.0
MODE_RATIOS = np.array([[1, 1.45, 4.6, 5.3, 0], [1, 2.1, 2.9, 0, 0], [1, 3.3, 4.2, 0, 0], [1, 1.5, 2.2, 3.2, 4.6]])
MODE_AMPLITUDES = (MODE_RATIOS > 0) * np.array([1.0, 0.9, 0.8, 0.7, 0.7])
RING_DECAY_PER_SECOND = np.array([24.0, 8.0, 45.0])  # wooden, metal, rubber
# What the contact adds: wooden a dry click, metal a long high ping, rubber a low thud.
CONTACT_HZ = np.array([[3100.0, 3800.0], [5300.0, 6700.0], [130.0, 180.0]])
CONTACT_DECAY_PER_SECOND = np.array([[110.0, 130.0], [8.0, 10.0], [22.0, 28.0]])
CONTACT_AMPLITUDES = np.array([[0.8, 0.7], [0.5, 0.4], [1.3, 0.9]])

_BLOCK = 128


def render_audio(
    rngs: Sequence[np.random.Generator], *, shape: np.ndarray, motion: np.ndarray, material: np.ndarray
) -> np.ndarray:
    """Render B sounds (B, 16000) float32 in [-1, 1], one second at 16 kHz, from factor indices (B,)."""
    num_modes = MODE_RATIOS.shape[1]
    u = np.stack([rng.random(32) for rng in rngs])
    ring_hz = MODE_RATIOS[shape] * (BASE_HZ * (0.92 + 0.16 * u[:, :1]))
    contact_hz = CONTACT_HZ[material] * (0.93 + 0.14 * u[:, 1:2])
    hz = np.concatenate([ring_hz, contact_hz], axis=1)
    ring_decay = np.repeat(RING_DECAY_PER_SECOND[material][:, None], num_modes, axis=1)
    decay = np.concatenate([ring_decay, CONTACT_DECAY_PER_SECOND[material]], axis=1) * (0.9 + 0.2 * u[:, 2:3])
    amplitude = np.concatenate([MODE_AMPLITUDES[shape], CONTACT_AMPLITUDES[material]], axis=1)
    amplitude = amplitude * (0.7 + 0.3 * u[:, 3 : 3 + num_modes + 2])
    ring_BT = damped_modes(hz, decay, amplitude, phase_turns=u[:, 10 : 10 + num_modes + 2])

    # Row by row and in place: a row stays in the processor's cache, where a batch of them would not.
    tilt = (1.6 * u[:, 20] - 0.8).astype(np.float32)
    noise_level = (3.46 * 10 ** (-(28 + 20 * u[:, 21]) / 20)).astype(np.float32)
    gain = (0.9 * 10 ** (-14 * u[:, 22] / 20)).astype(np.float32)
    sound_BT = np.zeros_like(ring_BT)
    hit_T, white = np.empty(NUM_SAMPLES, dtype=np.float32), np.empty(NUM_SAMPLES + 1, dtype=np.float32)
    for row, (sound, ring, rng) in enumerate(zip(sound_BT, ring_BT, rngs, strict=True)):
        starts, strengths = draw_contacts(int(motion[row]), rng)
        for start, strength in zip(starts.tolist(), strengths.astype(np.float32), strict=True):
            num_left = NUM_SAMPLES - start
            sound[start:] += np.multiply(ring[:num_left], strength, out=hit_T[:num_left])
        sound /= max(sound.max(), -sound.min())
        rng.random(out=white, dtype=np.float32)
        white -= np.float32(0.5)
        noise = np.multiply(white[:-1], tilt[row], out=hit_T)
        noise += white[1:]
        noise *= noise_level[row]
        sound += noise
        sound *= gain[row]
    return np.clip(sound_BT, -1, 1, out=sound_BT)


def damped_modes(
    hz: np.ndarray, decay_per_second: np.ndarray, amplitude: np.ndarray, phase_turns: np.ndarray
) -> np.ndarray:
    """Sum of K damped sines, (B, K) parameters each → (B, 16000) float32.

    exp(λ(128m + n)) = exp(128λm)·exp(λn): 125 + 128 complex values a mode and one matrix product a sample replace
    16,000 sines and exponentials a mode.
    """
    coarse = np.arange(NUM_SAMPLES // _BLOCK) * (_BLOCK / SAMPLE_RATE_HZ)
    fine = np.arange(_BLOCK) / SAMPLE_RATE_HZ
    cos_m, sin_m = _damped_turns(hz, decay_per_second, phase_turns, coarse)
    cos_n, sin_n = _damped_turns(hz, decay_per_second, np.zeros_like(hz), fine)
    left = np.concatenate([sin_m, cos_m], axis=1) * np.tile(amplitude, 2)[:, :, None].astype(np.float32)
    right = np.concatenate([cos_n, sin_n], axis=1)
    sound_BT: np.ndarray = np.matmul(left.transpose(0, 2, 1), right).reshape(len(hz), NUM_SAMPLES)
    return sound_BT


def _damped_turns(
    hz: np.ndarray, decay_per_second: np.ndarray, phase_turns: np.ndarray, seconds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # float32 keeps too few digits for thousands of turns, so whole turns are dropped in float64 first.
    turns = (hz[:, :, None] * seconds + phase_turns[:, :, None]) % 1.0
    angle = (2 * np.pi * turns).astype(np.float32)
    envelope = np.exp((-decay_per_second[:, :, None] * seconds).astype(np.float32))
    return envelope * np.cos(angle), envelope * np.sin(angle)


def draw_contacts(motion: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where the object touches the ground (sample index) and how hard: the rhythm of a motion."""
    seconds: np.ndarray
    strength: np.ndarray
    if motion == 0:  # resting: put down once
        seconds, strength = rng.uniform(0.02, 0.35, 1), np.ones(1)
    elif motion == 1:  # sliding: scraping over many small bumps
        num_bumps = 56
        seconds = rng.uniform(0.0, 0.15) + rng.uniform(0.7, 0.82) * (np.arange(num_bumps) + rng.random(num_bumps)) / (
            num_bumps
        )
        strength = rng.uniform(0.3, 1.0, num_bumps) * np.where(rng.random(num_bumps) < 0.5, -1.0, 1.0)
    elif motion == 2:  # bouncing: ever faster and softer
        gaps = rng.uniform(0.24, 0.29) * rng.uniform(0.72, 0.8) ** np.arange(9)
        seconds = rng.uniform(0.01, 0.1) + np.concatenate([np.zeros(1), np.cumsum(gaps)])
        strength = 0.82 ** np.arange(10)
    else:  # spinning: an even, fast beat
        period = rng.uniform(0.095, 0.125)
        seconds = rng.uniform(0.0, 0.095) + period * np.arange(10)
        strength = rng.uniform(0.8, 1.0, 10)
    start = (seconds * SAMPLE_RATE_HZ).astype(np.int64)
    inside = start < NUM_SAMPLES
    return start[inside], strength[inside]
