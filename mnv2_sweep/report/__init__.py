"""Texts and files for people, from what was recorded."""
