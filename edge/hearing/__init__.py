"""Blocks in, observations out: level gate, speech gate, network, decision."""
