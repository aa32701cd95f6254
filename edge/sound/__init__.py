"""Where sound comes from: microphones and recordings as timed blocks of 80 ms, or the reason why there is none."""
