"""Design spaces: YAML files, the networks in them, where costs jump."""
