"""A plan as a torch module, whole or with its blocks split; the outside judge."""
