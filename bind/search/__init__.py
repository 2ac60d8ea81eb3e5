"""Search among vectors of a binder's space: an index on disk, exact and approximate engines, filters, other engines."""
