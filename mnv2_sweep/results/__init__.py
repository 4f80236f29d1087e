"""Results folder -> tables, statistics, fronts, ablations, reports."""
