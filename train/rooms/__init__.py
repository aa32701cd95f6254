"""Utterances heard in rooms: what a network of functionals learns from, and whom it is judged by."""
