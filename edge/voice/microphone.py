"""What is said of the microphone: that all is well, that it is closed on purpose, or a fault's code."""

from typing import Annotated

import msgspec

# No problem: it does not listen on purpose, or it listens, or is about to.
ON_PURPOSE = ("off", "quiet-hours")
NO_PROBLEM = ("ok", "starting", *ON_PURPOSE)
# Why there is no sound, or no use in it, in the words of edge/sound/faults.py.
FAULTS = (
    "absent", "denied", "busy", "rate-refused", "stalled", "server-gone", "host-error",
    "not-started", "ended", "not-sound", "flooding",
    "zeros", "constant", "clipped",
)  # fmt: skip
MICROPHONE = (*NO_PROBLEM, *FAULTS)

# No enum: whoever checks by the schema of today is to take a fault that a sensor of tomorrow knows.
Ear = Annotated[
    str,
    msgspec.Meta(
        description="`ok`, `starting`, `off` or `quiet-hours` (both on purpose), or a fault's code, of which there may "
        "be more in time",
        examples=list(MICROPHONE),
    ),
]


class Microphone(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is as `microphone` of the topic `state`; `detail` says it in words."""

    state: Ear
    detail: str = ""

    @property
    def is_problem(self) -> bool:
        return self.state not in NO_PROBLEM
