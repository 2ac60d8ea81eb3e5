"""Frozen dual encoders with their processors."""
