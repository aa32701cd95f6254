"""TensorFlow's own words, kept off the terminal: what goes wrong comes as an exception."""

import logging
import os


def hush() -> None:
    """Call it in each process before TensorFlow is imported there. TF_CPP_MIN_LOG_LEVEL in the environment wins."""
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3":
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        logging.getLogger("absl").setLevel(logging.ERROR)
