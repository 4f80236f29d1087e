"""A network as numbers, its plan layer by layer, and what it costs; no torch."""
