"""What the contract's schemas say of a payload."""

import json

import jsonschema

from edge.voice.contract import FOLDER


def validate(name: str, value: object) -> None:
    jsonschema.validate(
        value, json.loads((FOLDER / f"{name}.json").read_text()), cls=jsonschema.validators.Draft202012Validator
    )


def as_json(name: str, payload: str) -> object:
    """Return a payload as JSON; status and listening are bare words on the wire."""
    return payload if name in ("status", "listening") else json.loads(payload)
