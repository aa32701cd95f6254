"""What sensors tell of their days and of each moment, as long as no minute of it is kept."""
