"""A command as a microphone: any program that writes sound to its standard output, kept in a process of its own."""
