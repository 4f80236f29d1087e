"""What every layer uses: errors, text, files, signals, processes."""
