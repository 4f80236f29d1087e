"""What a network's outputs are held against, in torch: a module a task; `trials.tasks` lists them."""
