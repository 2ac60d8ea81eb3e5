"""`bindspace heterogeneity`: which modalities carry the same information, and which pairs of them interact alike."""
