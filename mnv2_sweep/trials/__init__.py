"""What is trained and what was measured: recipe, trial, result, tasks and ways."""
