"""Trials trained: the loop, its checkpoints, and the ways in which weights come about."""
