"""What can be published besides a model's own labels."""

QUIET = "quiet"  # nobody speaks
UNKNOWN = "unknown"  # somebody does, but no label is confident
