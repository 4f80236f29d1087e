"""Networks in torch, built from their plans, and what is measured of one network."""
