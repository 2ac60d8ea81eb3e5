"""A binder for others: its model card, its figures for the hub, its encoders for other runtimes."""
