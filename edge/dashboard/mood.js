/* As much as is known: what a room is like where no label stands out, and how well the sensor knows the room. */
"use strict";

const Mood = (() => {
  /* The labels that a bundled model's moods group: for the one of them that is named beside its mood. */
  const GROUPS = {
    tense: ["angry", "disgust", "fear"],
    bright: ["happy", "surprise"],
    calm: ["neutral"],
    low: ["sad"],
  };
  const KNOWN_AFTER = 20; // utterances: from there on more hardly matter

  /* The mood is said only in place of `unknown`: beside a label it is the label's own. */
  const stands = ({ emotion, mood }) =>
    emotion === Labels.UNKNOWN && mood !== null && mood !== Labels.UNKNOWN && mood !== Labels.QUIET;

  function perhaps({ mood, scores }) {
    const members = Object.hasOwn(GROUPS, mood) ? GROUPS[mood].filter((label) => scores.has(label)) : [];
    if (members.length < 2) return "";
    return `perhaps ${members.reduce((best, label) => (scores.get(label) > scores.get(best) ? label : best))}`;
  }

  return {
    word: (state) => (stands(state) ? state.mood : state.emotion),

    /* How sure it is, 0 to 1, or null where it is sure of nothing. */
    surely: (state) => (stands(state) ? state.moodConfidence : Labels.surely(state.emotion, state.confidence)),

    /* What follows the word, where that is a mood: null where it is not. */
    detail(state) {
      if (!stands(state)) return null;
      return [Labels.guess(state.moodConfidence), perhaps(state)].filter(Boolean).join(" · ");
    },

    /* That the room is still new to the sensor, in words, where it is. */
    acquaintance(health) {
      const heard = health?.roomUtterances ?? null;
      if (heard === null || heard >= KNOWN_AFTER) return "";
      return `getting to know this room: ${heard} ${heard === 1 ? "utterance" : "utterances"}`;
    },
  };
})();
