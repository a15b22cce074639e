"""What a developer asks for, made from the model and the index."""
