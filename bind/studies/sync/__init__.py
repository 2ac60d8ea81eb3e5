"""`bindspace sync`: the offset and drift between the streams of recordings, and spans that correct them."""
