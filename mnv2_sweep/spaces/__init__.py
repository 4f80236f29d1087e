"""Design spaces: the YAML file, the networks in it, which of them are the same."""
