"""Whether an artifact behaves as what was trained: calibration, golden sound, answers in every runtime."""
