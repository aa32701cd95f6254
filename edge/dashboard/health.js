/* How the sensor itself is. */
"use strict";

class HealthCard {
  /* What became of a model that was offered; nothing is said of one that runs. */
  static OFFERS = { offered: "waits to be installed", trying: "is being tried", refused: "refused", "went-back": "taken back" };

  constructor() {
    this._figures = new Figures(Dom.byId("health-figures"));
    this._who = new Figures(Dom.byId("who-figures"));
  }

  update(sensor, { nowMs }) {
    const { health } = sensor;
    const age = Dom.byId("health-age");
    this._who.show(HealthCard._about(sensor));
    if (health === null) {
      this._figures.show([]);
      Dom.setText(age, "No figures yet; they come once a minute.");
      return;
    }
    this._figures.show([...HealthCard._load(health), ...HealthCard._delays(health)]);
    Dom.setText(age, `Measured ${Format.duration(nowMs - sensor.healthAt)} ago.`);
  }

  static _load(health) {
    const { cpuRatio, realtimeFactor, temperatureC, droppedBlocks } = health;
    return [
      ["Processor", cpuRatio === null ? "–" : `${(cpuRatio * 100).toFixed(1)} % of a core`],
      ["Memory", Format.number(health.rssMb, 0, "MB")],
      ["Temperature", Format.number(temperatureC, 0, "°C"), temperatureC > 75 ? "hot" : ""],
      ["Real-time factor", Format.number(realtimeFactor, 3), realtimeFactor > 0.8 ? "too slow" : ""],
      ["Dropped blocks", Format.number(droppedBlocks, 0), droppedBlocks > 0 ? "sound was lost" : ""],
    ];
  }

  static _delays(health) {
    const { inferenceMs, latencyMs, outboxDepth, outboxDropped, outboxProblem, problem, reconnects } = health;
    const pair = ({ p50, p99 }) => `${Format.number(p50, 1)} / ${Format.number(p99, 1, "ms")}`;
    return [
      ["Inference, p50 / p99", pair(inferenceMs)],
      ["Latency, p50 / p99", pair(latencyMs)],
      ["Waiting to be sent", Format.number(outboxDepth, 0), outboxDepth > 0 && problem ? problem : ""],
      ...(outboxDropped > 0 ? [["Events lost", Format.number(outboxDropped, 0), "too long without a link"]] : []),
      ...(outboxProblem ? [["Keeping events", "", outboxProblem]] : []),
      ["Reconnects", Format.number(reconnects, 0)],
      ...(health.away ? [["Broker", "the second", health.away]] : []),
      ...(health.lastProblem ? [["Last link problem", HealthCard._problem(health)]] : []),
    ];
  }

  static _problem({ lastProblem, lastProblemTs }) {
    return lastProblemTs === null ? lastProblem : `${lastProblem}, ${Format.clock(lastProblemTs)}`;
  }

  static _offer(model) {
    const became = HealthCard.OFFERS[model?.result];
    if (became === undefined) return [];
    return [["Model offered", model.offered ?? "–", model.reason === null ? became : `${became}: ${model.reason}`]];
  }

  static _about(sensor) {
    const uptimeS = sensor.health?.uptimeS ?? null;
    const ahead = sensor.clockAheadMs;
    const off = ahead !== null && Math.abs(ahead) > Format.MINUTE;
    const clock = off ? `${Format.duration(Math.abs(ahead))} ${ahead > 0 ? "ahead" : "behind"}` : "in step";
    return [
      ["Running for", uptimeS === null ? "–" : Format.duration(uptimeS * 1000)],
      ["Clock", ahead === null ? "–" : clock, off ? "differs from this page’s" : ""],
      ["Model", sensor.model?.installed ?? sensor.state?.model ?? "–"],
      ...HealthCard._offer(sensor.model),
      ["Version", sensor.health?.version ?? "–"],
    ];
  }
}

Page.addRoomView(new HealthCard());
