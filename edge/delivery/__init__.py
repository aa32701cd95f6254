"""How it gets to the broker: one session, one courier, and an outbox for what is not acknowledged."""
