/* Where the room is between unpleasant and pleasant, calm and excited: a dot on a plane.
 *
 * Shown once a sensor has told both (one with labels of its own, or of before they were told, never does), and empty
 * while nobody speaks: what came and went with every pause would move the page. */
"use strict";

const Affect = (() => {
  const dot = Dom.byId("affect-dot");

  function update(sensor, { condition }) {
    const live = condition.kind === "live";
    Dom.setHidden(Dom.byId("affect"), !live || !sensor.tellsAffect);
    const { valence, arousal } = live ? sensor.state : { valence: null, arousal: null };
    const known = valence !== null && arousal !== null;
    Dom.setHidden(dot, !known);
    if (known) put(dot, valence, arousal);
    Dom.setAttribute(Dom.byId("affect"), "aria-label", known ? words(valence, arousal) : "Valence and arousal: nobody speaks");
  }

  function put(node, valence, arousal) {
    node.style.setProperty("--valence", valence);
    node.style.setProperty("--arousal", arousal);
  }

  function words(valence, arousal) {
    return `Valence ${signed(valence)} of −1, unpleasant, to +1, pleasant; arousal ${signed(arousal)} of −1, calm, to +1, excited`;
  }

  function signed(value) {
    return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
  }

  return { update };
})();

Page.addRoomView(Affect);
