"""Published weights: which there are, and their files read exactly."""
