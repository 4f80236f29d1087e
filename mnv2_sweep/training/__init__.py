"""What one trial is, how it is trained, what it will take."""
