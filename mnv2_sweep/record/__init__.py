"""What is kept of a sweep: trials.db, claims, and tables of them."""
