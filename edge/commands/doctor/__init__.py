"""`roomtone doctor`: everything a sensor needs, looked at, and what helps."""
