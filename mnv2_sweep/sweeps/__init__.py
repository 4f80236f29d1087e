"""Many trials: worker processes, the results file, what a person sees meanwhile."""
