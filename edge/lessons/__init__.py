"""What people say an utterance was: kept as numbers, and fitted to a layer over the model's answers."""
