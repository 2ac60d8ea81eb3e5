"""Files: read behind one boundary, written atomically, locked, checked by checksums, and read as plain data only."""
