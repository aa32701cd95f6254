"""What a conversion found, for people."""
