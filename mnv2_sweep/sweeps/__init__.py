"""Many trials: planned, estimated, run in processes or on a cluster, recorded."""
