"""Sound devices through PortAudio, which is kept in a process of its own."""
