"""`bindspace robustness`: what noise and missing modalities do to retrieval and zero-shot, as curves."""
