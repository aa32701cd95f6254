"""What runs for years: `roomtone run`, put together and kept going."""
