"""Other processes of this host: what they are doing, and workers that load data."""
