"""What a model's thoughts have to do with its answers."""
