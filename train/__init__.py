"""The laboratory: corpora become features, features become networks, networks become honest reports."""
