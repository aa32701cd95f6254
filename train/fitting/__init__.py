"""One network trained on one split: prepared, fitted, measured, kept as a run."""
