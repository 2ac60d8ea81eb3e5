"""The HTTP service: embedding and search for many users, Weaviate's contract, and a page to search on."""
