"""Images and labels: the embedded shapes, and photos in folders and zips."""
