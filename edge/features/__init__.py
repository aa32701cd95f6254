"""From samples to MFCC frames, and how frames are normalized."""
