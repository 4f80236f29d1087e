"""Many trials: scheduled, estimated, run in processes or on a cluster, recorded."""
