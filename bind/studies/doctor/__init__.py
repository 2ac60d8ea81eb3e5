"""`bindspace doctor`: what is wrong with a manifest and its files, all of it at once."""
