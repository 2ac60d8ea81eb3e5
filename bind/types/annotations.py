"""Annotations of recordings: what somebody, or a program, says of a stretch of time."""

from __future__ import annotations

from dataclasses import dataclass

from bind.types.samples import compose_name


@dataclass(frozen=True, slots=True)
class Annotation:
    """A stretch of a recording and what is said of it.

    Attributes:
        recording: key of the recording, as in the manifest.
        start_seconds, end_seconds: in the time of the recording; equal where it is a moment.
        texts: captions, none where there is only a label.
        label: its class.
        kind: what it speaks of, such as `activity` or `posture`: those of one kind do not overlap. A tier of ELAN.

    Examples:
        >>> print(Annotation("anna", 12.0, 14.5, label="walking", kind="activity"))
        anna 12-14.5 s: walking (activity)
    """

    recording: str
    start_seconds: float
    end_seconds: float
    texts: tuple[str, ...] = ()
    label: str | None = None
    kind: str = ""

    def __post_init__(self) -> None:
        for name in ("recording", "label", "kind"):
            if value := getattr(self, name):
                object.__setattr__(self, name, compose_name(value))

    def __str__(self) -> str:
        said = self.label or " | ".join(self.texts)
        kind = f" ({self.kind})" if self.kind else ""
        return f"{self.recording} {self.start_seconds:.10g}-{self.end_seconds:.10g} s: {said}{kind}"
