"""What was found, for people: pages, pictures and tables, from the figures of a study."""
