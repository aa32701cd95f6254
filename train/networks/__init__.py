"""The networks, each in its own file: pure Keras 3, whatever its backend."""
