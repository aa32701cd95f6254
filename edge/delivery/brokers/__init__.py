"""One broker or two: which is used, whose sessions there are, and what is heard beside."""
