"""`bindspace doctor`: all that is wrong with a manifest and its files, at once."""
