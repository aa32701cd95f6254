"""What training makes of recordings: other voices, rooms, distances, channels, noises; scenes for the speech gate."""
