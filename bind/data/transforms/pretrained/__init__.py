"""Transforms that feed pretrained encoders, each by the feature extractor of its family."""
