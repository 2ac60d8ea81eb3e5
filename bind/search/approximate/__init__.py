"""Approximate engines over the vectors of an index: faiss and LanceDB propose candidates, which are scored exactly."""
