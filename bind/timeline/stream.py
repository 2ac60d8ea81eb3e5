"""Stream of sensor samples or sound whose time line is known as it comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bind.evaluation.label_sets import LabelSet
from bind.model.binder import Binder
from bind.timeline.labeller import Labeller
from bind.timeline.labels import Labels, embed_labels
from bind.timeline.parameters import Parameters
from bind.timeline.recording import embed_block
from bind.timeline.samples import SampledWindows, require_modality
from bind.timeline.segments import Segment
from bind.timeline.windows import Block, Break
from bind.types import Modality


class Stream:
    """The time line of samples that come in pieces of any size: from when to when which label.

    What it says of the time up to `final_seconds` never changes, and is what the time line of the whole recording
    says. The rest, `look_ahead_seconds` at most, is what holds if nothing more comes.

    Args:
        binder: a trained Binder; `bind.Run("runs/mine").binder`.
        modality: `audio`, or one that its transform reads as a sensor, such as `imu`.
        labels: phrases; or names with the prompts of each; or `Labels` that were embedded before.
        parameters: as `bind.timeline.fits.fitted_parameters` gives them; None: those that hold without a fit.
        sample_rate_hz: of the samples; None: the rate of the modality's transform.
        channels, units: of a sensor's samples, in their order; None: those of the transform.
        hop_seconds: from window to window; None: a quarter of the window.
        name: of the stream, for messages.

    Raises:
        ValueError: for a modality that is no stream of samples, channels that are missing, and labels that are empty,
            doubled or fewer than two.

    Examples:
        >>> config = {
        ...     "anchor": {"_target_": "bind.anchors.dual_encoder.PretrainedAnchor", "pretrained": "toy"},
        ...     "modalities": ["imu"],
        ...     "encoder": {"imu": {"_target_": "bind.encoders.imu_cnn.ImuCNN", "width": 8}},
        ...     "head": {"_target_": "bind.encoders.heads.ProjectionHead"},
        ...     "transform": {"imu": {"_target_": "bind.data.transforms.imu.ImuTransform", "window_seconds": 1.0}},
        ... }
        >>> stream = Stream(Binder.from_config(config), "imu", labels=["spinning", "resting"])
        >>> rng = np.random.default_rng(0)
        >>> for _ in range(10):  # ten seconds at 100 Hz
        ...     segments = stream.push(rng.standard_normal((100, 6)))
        >>> segments[0].start_seconds, stream.finish()[-1].end_seconds
        (0.0, 10.0)
    """

    def __init__(
        self,
        binder: Binder,
        modality: Modality,
        *,
        labels: Sequence[str] | Mapping[str, Sequence[str]] | LabelSet | Labels,
        parameters: Parameters | None = None,
        sample_rate_hz: float | None = None,
        channels: Sequence[str] | None = None,
        units: Sequence[str] | None = None,
        hop_seconds: float | None = None,
        name: str = "the stream",
    ) -> None:
        require_modality(binder, modality)
        self.binder = binder
        self.modality = modality
        self.name = name
        transform: Any = binder.transforms[modality]
        self._sampled = SampledWindows.of(
            transform,
            modality,
            sample_rate_hz=_rate_of(transform, sample_rate_hz, name),
            channels=channels,
            units=units,
            hop_seconds=hop_seconds,
            name=name,
        )
        self._labeller = Labeller(
            labels if isinstance(labels, Labels) else embed_labels(binder, labels),
            parameters or Parameters(),
            window_seconds=self._sampled.window_seconds,
            hop_seconds=self._sampled.hop_seconds,
        )

    @property
    def label_names(self) -> list[str]:
        """What segments may be called; with a fit of it "none of these" too."""
        return list(self._labeller.names)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments so far."""
        return self._labeller.segments

    @property
    def breaks(self) -> Sequence[Break]:
        """Time that has no label, and why: jumps and pauses, a sensor that was off, pieces shorter than a window."""
        return self._sampled.breaks

    @property
    def final_seconds(self) -> float:
        """Up to where the segments never change."""
        return self._labeller.final_seconds

    @property
    def look_ahead_seconds(self) -> float:
        """How much later than a moment what comes may still change its label, at most."""
        return self._labeller.look_ahead_seconds

    def push(self, samples: np.ndarray, time_seconds: float | None = None) -> tuple[Segment, ...]:
        """Take further samples, and return the segments so far.

        Args:
            samples: (T, C) of a sensor, (T,) or (T, C) of sound.
            time_seconds: when the first of them was taken; None: they follow the ones before. Later than expected by
                more than three samples, it is a break: segments end there.

        Raises:
            ValueError: for samples that are NaN, of another shape than before, or earlier. None of them is taken.
        """
        self._embed(self._sampled.push(samples, time_seconds))
        return self.segments

    def pause(self) -> tuple[Segment, ...]:
        """End what came so far, as before a break of unknown length: its segments are final."""
        self._embed(self._sampled.finish())
        return self.segments

    def finish(self) -> tuple[Segment, ...]:
        """All segments; nothing more comes.

        Raises:
            ValueError: where nothing was as long as a window.
        """
        self.pause()
        if not self.segments:
            raise ValueError(
                f"{self.name}: nothing in it, up to {self._sampled.clock_seconds:g} s, is as long as the window of "
                f"{self._sampled.window_seconds:g} s" + "".join(f"; {lost}" for lost in self.breaks[:3])
            )
        return self.segments

    def _embed(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self._labeller.push(block, embed_block(self.binder, self.modality, block))


def _rate_of(transform: Any, sample_rate_hz: float | None, name: str) -> float:
    """The rate of a stream's samples; ValueError where neither the stream nor its transform has one."""
    if sample_rate_hz is None and transform.sample_rate_hz is None:
        raise ValueError(f"{name}: the run takes any rate. Say that of the samples: give sample_rate_hz")
    return float(transform.sample_rate_hz if sample_rate_hz is None else sample_rate_hz)
