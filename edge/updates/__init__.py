"""Models that come over the air: published to a ring, verified and tried by its sensors, promoted to the next ring; and
whether a bundle, a new version of all of roomtone, may be installed."""
