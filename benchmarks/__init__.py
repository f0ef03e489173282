"""Cost of converted models against the models they come from."""
