"""A network as a TFLite graph: exported, quantized, slimmed, in a process of its own."""
