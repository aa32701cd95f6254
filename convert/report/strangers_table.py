"""What networks of utterances are worth to strangers (strangers.py), as a page of Markdown."""

from typing import Any

from train.pages.tables import markdown


def _of_all(pooled: dict[str, float]) -> str:
    parts = [
        f"a {what} is said of {100 * pooled[f'{key}said']:.0f} %, "
        f"and {100 * pooled[f'{key}right_where_said']:.0f} % of those are right"
        for what, key in (("label", ""), ("mood", "mood_"))
        if f"{key}said" in pooled
    ]
    if pooled.get("ece") is not None:
        parts.append(f"the ECE of all answers together is {pooled['ece']:.3f}")
    return "; ".join(parts) or "nothing is said"


def table(found: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    corpora = list(found["unseen"])
    rows = [
        [setting, *(f"{100 * found['unseen'][corpus]['uar'][setting]:.1f}" for corpus in corpora)]
        for setting in next(iter(found["unseen"].values()))["uar"]
    ]
    rows += [
        [f"{kind}{condition}{after}", *(f"{100 * found['unseen'][corpus][key][condition]:.1f}" for corpus in corpora)]
        for key, kind, after in (
            ("conditions", "of some clips, ", ""), ("moved", "by another microphone, ", " utterances after the change")
        )
        for condition in next(iter(found["unseen"].values())).get(key, ())
    ]  # fmt: skip
    rows += [
        [name, *("-" if (value := found["unseen"][corpus].get(key)) is None else f"{scale * value:.{digits}f}"
                 for corpus in corpora)]
        for name, key, scale, digits in (
            ("20 heard, over all labels of the model", "uar_over_all_labels", 100, 1),
            ("20 heard, deviation over trainings", "uar_deviation", 100, 1),
            ("ECE, calibrated on the others", "ece", 1, 3),
            ("correlation of arousal with the true label's", "arousal", 1, 2),
            ("that of the level alone", "arousal_of_level", 1, 2),
            ("of the published arousal's, what is not the level's", "arousal_beyond_level", 1, 2),
            ("a label is said, in %", "said", 100, 1),
            ("right where a label is said, in %", "right_where_said", 100, 1),
            ("a mood is said, in %", "mood_said", 100, 1),
            ("right where a mood is said, in %", "mood_right_where_said", 100, 1),
        )
    ]  # fmt: skip
    voices = [
        [corpus, str(one["folds"]), f"{100 * one['uar']:.1f}",
         " ".join(f"{label} {100 * value:.0f}" for label, value in one["recall"].items())]
        for corpus, one in found["voices"].items()
    ]  # fmt: skip
    listeners = [
        [corpus, f"{100 * one['uar']:.1f}", f"{100 * one['model_uar']:.1f}"]
        for corpus in corpora if (one := found["unseen"][corpus].get("listener"))
    ]  # fmt: skip
    by = [
        [corpus, kind, "; ".join(f"{part} {100 * row['uar']:.1f} ({row['clips']})" for part, row in of.items())]
        for corpus in corpora for kind, of in found["unseen"][corpus].get("by", {}).items()
    ]  # fmt: skip
    parts = [
        "# What the network of utterances is worth to strangers\n",
        "Corpora that nobody trained on, UAR in % over their own labels, by what was heard in the room before:\n",
        markdown(["room: voices, moods, utterances", *corpora], rows),
        f"Of all corpora alike, {_of_all(found['pooled'])}. [As a picture](heard.png).\n",
    ]
    if by:
        parts += [
            "Parts of them, 20 heard before, UAR in % (answers):\n",
            markdown(["corpus", "by", "parts"], by, words=3),
        ]
    if listeners:
        parts += [
            "Beside a single listener, who hears the clip alone (the expectation over those who were asked):\n",
            markdown(["corpus", "listener", "model"], listeners),
        ]
    if voices:
        parts += [
            "Voices that nobody trained on, others of their corpus were (one voice, *neutral*, 20 heard before):\n",
            markdown(["corpus", "folds", "UAR", "recall"], voices),
        ]
    return "\n".join(parts)
