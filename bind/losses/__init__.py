"""Losses over named sides a and b: one per file."""

from bind.losses.info_nce import InfoNCE, info_nce
from bind.losses.sigmoid import Sigmoid, sigmoid_loss
from bind.losses.temperature import Temperature

__all__ = ["InfoNCE", "Sigmoid", "Temperature", "info_nce", "sigmoid_loss"]
