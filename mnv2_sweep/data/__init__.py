"""The embedded shapes, folders and zips of photos, batches of tensors."""
