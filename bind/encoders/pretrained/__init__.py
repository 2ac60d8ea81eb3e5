"""Encoders whose weights come from transformers, one family of models per file."""
