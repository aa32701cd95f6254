"""Recordings as clips with a label and a speaker: found, read, made noisier, cut, split."""
