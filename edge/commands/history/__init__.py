"""`roomtone history`: its words, its verbs, and how a past looks in a terminal."""
