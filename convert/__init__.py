"""Conversion that proves itself: a run becomes an artifact, and the artifact is shown to be what was trained."""
