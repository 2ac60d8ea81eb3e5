"""A binder for others: its encoders for other runtimes."""
