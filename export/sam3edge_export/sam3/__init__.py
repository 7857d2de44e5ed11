"""SAM 3's computation, split into the graphs that a device runs."""
