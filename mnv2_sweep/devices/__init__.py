"""What a device does with networks: profiles that were measured on it, and the latency that they predict; no torch."""
