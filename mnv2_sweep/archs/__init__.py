"""A spec as a few numbers, and the plan it resolves to: every layer with its shape."""
