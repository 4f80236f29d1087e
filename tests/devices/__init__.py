"""Profiles of devices, and what is learnt from them."""
