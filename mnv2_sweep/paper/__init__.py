"""Published figures with their sources, and our count beside each."""
