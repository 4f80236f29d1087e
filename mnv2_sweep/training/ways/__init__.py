"""How weights come about: a module a way; `trials.ways` lists them."""
