"""Costs explained: layer by layer, in other tools' conventions, as listings."""
