"""From samples to features: MFCC frames, what a voice tells beside them, an utterance in numbers, a room's baseline."""
