"""The artifact, one file with a graph and its manifest: verified, replayed, loaded, installed."""
