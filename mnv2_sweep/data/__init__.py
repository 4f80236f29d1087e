"""Images and labels: the embedded shapes, cloths and quilts, and photos in folders and zips."""
