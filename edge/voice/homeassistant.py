"""Home Assistant finds the sensor by itself: one retained discovery message describes the device and its entities.

Source: Home Assistant's MQTT integration, "Device discovery payload". The entities read the same topics as everybody
else (edge/voice/payloads.py); nothing is published for Home Assistant alone but the description.
"""

import json
from collections.abc import Sequence
from typing import Any, get_args

from edge import __version__
from edge.config import Device, EdgeConfig
from edge.labels import QUIET, UNKNOWN
from edge.voice.microphone import NO_PROBLEM
from edge.voice.models import OFFERED
from edge.voice.payloads import ROOT, SETTABLE, LogLevel

LEVELS = get_args(LogLevel)
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
_NO_HOURS = "off"
_INSTALLABLE = ("offered", "went-back")  # results of a model that `model/install` installs
# A button is pressed unasked, which must not open a microphone: the quiet hours that were set stay.
_RESET = json.dumps({"reset": [*(name for name in SETTABLE if name != "quiet_hours"), "calibration"]})


def topic(config: EdgeConfig, device: str) -> str:
    """Return where the discovery message of a device is retained."""
    return f"{config.homeassistant.prefix}/device/{ROOT}-{device}/config"


def discovery(
    device: Device,
    labels: list[str],
    model_id: str,
    moods: Sequence[str] = (),
    *,
    teachable: bool = False,
    updated: bool = False,
) -> dict[str, Any]:
    """Return the message: device, origin, and a component per entity. moods: all that can be said, if any can.
    teachable: whether lessons can be given. updated: whether models come over the air."""
    base = f"{ROOT}/{device.id}"
    linked = {"topic": f"{base}/status"}
    healthy = ", ".join(f"'{state}'" for state in NO_PROBLEM)
    hearing = {
        "topic": f"{base}/state",
        "value_template": f"{{{{ 'online' if value_json.microphone in [{healthy}] else 'offline' }}}}",
    }
    said = [*labels, UNKNOWN, QUIET]  # a label outside the options would leave the old one standing

    def component(key: str, platform: str, name: str, *, hears: bool, **rest: Any) -> tuple[str, dict[str, Any]]:
        return key, {
            "platform": platform,
            "unique_id": f"{ROOT}-{device.id}-{key}",
            "name": name,
            "availability": [linked, hearing] if hears else [linked],
            "availability_mode": "all",
            "qos": 1,
            **rest,
        }

    def state(key: str, platform: str, name: str, template: str, *, hears: bool = True, **rest: Any):
        return component(
            key,
            platform,
            name,
            hears=hears,
            state_topic=f"{base}/state",
            value_template=f"{{{{ {template} }}}}",
            **rest,
        )

    def diagnostic(key: str, name: str, template: str, unit: str, **rest: Any):
        return component(
            key, "sensor", name, hears=False, state_topic=f"{base}/health", value_template=f"{{{{ {template} }}}}",
            entity_category="diagnostic", unit_of_measurement=unit, state_class="measurement", **rest,
        )  # fmt: skip

    def setting(key: str, platform: str, name: str, command: str, *, shown: str = "", **rest: Any):
        """A setting of `settings`; one that only commands has no value there."""
        known = {"state_topic": f"{base}/settings", "value_template": f"{{{{ {shown or f'value_json.{key}'} }}}}"}
        return component(
            key, platform, name, hears=False, entity_category="config", command_topic=f"{base}/settings/set",
            **({"payload_press": command} if platform == "button" else {**known, "command_template": command}), **rest,
        )  # fmt: skip

    # In Home Assistant's own time zone, which is where people read it.
    hours = '{"start": "{{ value[:5] }}", "end": "{{ value[6:] }}", "time_zone": "{{ now().tzinfo }}"}'
    hours = f'{{"quiet_hours": {{% if value == "{_NO_HOURS}" %}}null{{% else %}}{hours}{{% endif %}}}}'
    percent = {"unit_of_measurement": "%", "state_class": "measurement"}
    affect = {"state_class": "measurement", "suggested_display_precision": 2}
    decibels = {"state_class": "measurement", "entity_category": "diagnostic"}
    components = dict(
        [
            state("emotion", "sensor", "Emotion", "value_json.emotion", device_class="enum", options=said,
                  icon="mdi:account-voice"),
            state("confidence", "sensor", "Confidence", "(value_json.confidence * 100) | round(0)", **percent),
            # None, which Home Assistant shows as unknown; also for what an older sensor left on the broker.
            state("arousal", "sensor", "Arousal", "value_json.arousal | default(none)", icon="mdi:pulse", **affect),
            state("valence", "sensor", "Valence", "value_json.valence | default(none)", icon="mdi:emoticon-outline",
                  **affect),
            state("speech", "binary_sensor", "Speech", f"'OFF' if value_json.emotion == '{QUIET}' else 'ON'",
                  device_class="sound"),
            state("microphone", "binary_sensor", "Microphone problem",
                  f"'OFF' if value_json.microphone in [{healthy}] else 'ON'", hears=False, device_class="problem",
                  entity_category="diagnostic"),
            component("change", "event", "Change", hears=True, state_topic=f"{base}/event", event_types=said),
            component("listening", "switch", "Listening", hears=False, state_topic=f"{base}/listening",
                      command_topic=f"{base}/listening/set", payload_on="ON", payload_off="OFF",
                      icon="mdi:microphone"),
            setting("sensitivity", "number", "Sensitivity", '{"sensitivity": {{ value | int }}}', min=0, max=100,
                    step=1, mode="slider", icon="mdi:ear-hearing"),
            setting("state_interval_s", "number", "State interval", '{"state_interval_s": {{ value | float }}}', min=1,
                    max=60, step=1, unit_of_measurement="s"),
            setting("quiet_hours", "text", "Quiet hours", hours, icon="mdi:weather-night",
                    pattern=f"^({_CLOCK}-{_CLOCK}|{_NO_HOURS})$", max=len("22:00-07:00"),
                    shown=f"'{_NO_HOURS}' if value_json.quiet_hours is none else "
                          "value_json.quiet_hours.start ~ '-' ~ value_json.quiet_hours.end"),
            setting("log_level", "select", "Log level", '{"log_level": "{{ value }}"}', options=list(LEVELS)),
            setting("calibrate", "button", "Calibrate the empty room", '{"calibrate": true}', icon="mdi:tune"),
            setting("reset", "button", "Reset settings except quiet hours", _RESET),
            state("level", "sensor", "Level", "value_json.level_dbfs", unit_of_measurement="dBFS", **decibels),
            state("snr", "sensor", "Signal to noise", "value_json.snr_db", unit_of_measurement="dB", **decibels),
            state("reason", "sensor", "Microphone", "value_json.microphone", hears=False, entity_category="diagnostic"),
            diagnostic("cpu", "Processor", "(value_json.cpu_ratio * 100) | round(1)", "%"),
            diagnostic("memory", "Memory", "value_json.rss_mb", "MB", device_class="data_size"),
            diagnostic("temperature", "Temperature", "value_json.temperature_c", "°C", device_class="temperature"),
            diagnostic("waiting", "Undelivered events", "value_json.outbox_depth", "events"),
            diagnostic("dropped", "Dropped blocks", "value_json.dropped_blocks", "blocks"),
        ]
    )  # fmt: skip
    if moods:
        components |= [
            state("mood", "sensor", "Mood", "value_json.mood | default(none)", device_class="enum", options=[*moods],
                  icon="mdi:home-heart"),
        ]  # fmt: skip
    if teachable:
        told = {"hears": False, "state_topic": f"{base}/lessons"}
        # None, after each change: what was chosen for one says nothing of the next.
        asked = {"state_topic": f"{base}/event", "value_template": "{{ none }}", "optimistic": True}
        now = "{{ utcnow().strftime('%Y-%m-%dT%H:%M:%SZ') }}"
        command = f'{{"event_id": "last", "label": "{{{{ value }}}}", "ts": "{now}"}}'
        share = "(value_json.{0} * 100) | round(0) if value_json.{0} | default(none) is not none else none"
        components |= [
            component("it-was", "select", "It was", hears=False, command_topic=f"{base}/teach",
                      command_template=command, options=labels, icon="mdi:school", **asked),
            component("undo", "button", "Forget last lesson", hears=False, command_topic=f"{base}/forget",
                      payload_press='{"event_id": "last"}', icon="mdi:undo"),
            component("lessons", "sensor", "Lessons", value_template="{{ value_json.count }}",
                      unit_of_measurement="lessons", state_class="measurement", icon="mdi:school", **told),
            *(component(f"{of}-{when}", "sensor", f"{of.title()} {when} lessons",
                        value_template=f"{{{{ {share.format(f'{of}_{when}')} }}}}", **percent, **told)
              for of in ("right", "chance") for when in ("before", "after")),
            component("lessons-help", "binary_sensor", "Lessons help",
                      value_template="{{ 'ON' if value_json.in_use else 'OFF' }}", **told),
        ]  # fmt: skip
    if updated:
        called = "value_json.{0}.model ~ ' ' ~ value_json.{0}.sha256[:8]"
        # What was refused is no version to be installed.
        newest = f"({called.format('offered')}) if value_json.result in {list(_INSTALLABLE)} else installed"
        shown = (f"{{% set installed = {called.format('installed')} %}}"
                 f"{{{{ {{'installed_version': installed, 'latest_version': {newest},"
                 " 'in_progress': value_json.result == 'trying',"
                 " 'release_summary': value_json.reason | default('', true)} | tojson }}")  # fmt: skip
        components |= [
            component("model", "update", "Model", hears=False, state_topic=f"{base}/model", value_template=shown,
                      command_topic=f"{base}/model/install", payload_install=f'{{"sha256": "{OFFERED}"}}',
                      entity_category="config", icon="mdi:brain"),
        ]  # fmt: skip
    return {
        "device": {
            "identifiers": [f"{ROOT}-{device.id}"],
            "name": device.name,
            "manufacturer": ROOT,
            "model": "room sensor",
            "model_id": model_id,
            "sw_version": __version__,
        },
        "origin": {"name": ROOT, "sw_version": __version__},
        "components": components,
    }
