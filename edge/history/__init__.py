"""The past of every room: what is kept of it, in which store, and what can be asked of that."""
