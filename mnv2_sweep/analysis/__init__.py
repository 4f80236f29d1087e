"""Statistics of recorded trials: intervals, fronts, ablations, calibrations."""
