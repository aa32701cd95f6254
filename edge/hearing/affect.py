"""Arousal and valence of the scores: their expected value on the plane of core affect.

Source of the coordinates: J. A. Russell and A. Mehrabian, "Evidence for a three-factor theory of emotions", Journal of
Research in Personality 11 (1977), 273-294, doi:10.1016/0092-6566(77)90037-X: the mean pleasure and arousal that people
gave to the words angry, disgusted, fearful, happy, sad and surprised, each on a scale of -1 to 1. *neutral* is the
scales' middle. They are taken from reprints, which agree but for the arousal of *sad*: nearly all have -.27, a few .27;
the circumplex (J. A. Russell, "A circumplex model of affect", 1980) has it below the middle, too.
"""

from collections.abc import Mapping

# Label: (valence, arousal).
COORDINATES = {
    "angry": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happy": (0.81, 0.51),
    "neutral": (0.0, 0.0),
    "sad": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
}


def affect(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Return `arousal` and `valence`, -1 to 1, of scores by label that sum to 1.

    Both are None where there are no scores, and where a label has no coordinates: what the others say alone is not what
    was heard.
    """
    if not scores or not scores.keys() <= COORDINATES.keys():
        return {"arousal": None, "valence": None}
    valence = sum(score * COORDINATES[label][0] for label, score in scores.items())
    arousal = sum(score * COORDINATES[label][1] for label, score in scores.items())
    return {"arousal": round(arousal, 3), "valence": round(valence, 3)}
