"""Losses over named a and b: one per file."""

from bind.losses.info_nce import info_nce
from bind.losses.temperature import Temperature

__all__ = ["Temperature", "info_nce"]
