"""Images and labels: the embedded shapes and cloths, and photos in folders and zips."""
