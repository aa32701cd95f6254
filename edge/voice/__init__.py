"""What is said: payloads, their schemas, the day's timeline, Home Assistant's description."""
