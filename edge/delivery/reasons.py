"""Why there is no connection, in words, and how often that is said."""

import math
import socket
import ssl
import time

from paho.mqtt.reasoncodes import ReasonCode

ANSWER_S = 4.0  # for the connection, and again for the broker's first answer
RARELY_S = 3_600.0

_REFUSED = {  # by reason code
    132: " (it is older than MQTT 5)",
    134: " (is the user name or password wrong?)",
    135: " (is the user name or password wrong?)",
}
_NAMELESS = " (it wants an account: edge.mqtt.username and password_file)"


_OTHER_NAME = "it is made out to another name: edge.mqtt.host has to be a name that stands on it"
_NOT_TRUSTED = "it comes from an authority that is not trusted here: is edge.mqtt.tls.ca_file that of this broker?"
_NOT_ACCEPTED = {  # by OpenSSL's X509_V_ERR_...
    2: _NOT_TRUSTED,
    9: "it is not valid yet: is the clock of this machine right?",
    10: "it has expired: renew it on the broker, or is the clock of this machine wrong?",
    18: _NOT_TRUSTED,
    19: _NOT_TRUSTED,
    20: _NOT_TRUSTED,
    21: _NOT_TRUSTED,
    23: "it was revoked: the broker needs another one",
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
_ALERTS = {  # what the other side says of us, by a part of OpenSSL's name for it
    "certificate required": "it wants a client certificate: edge.mqtt.tls.cert_file",
    "unknown ca": "it does not know the authority of edge.mqtt.tls.cert_file",
    "certificate expired": "edge.mqtt.tls.cert_file has expired, or a clock is wrong",
    "certificate": "it does not accept edge.mqtt.tls.cert_file",
    "version": "it speaks an older TLS than 1.2",
    "protocol": "it speaks an older TLS than 1.2",
}


class Said:
    """What was said of a connection that comes and goes: the same again is said at most every RARELY_S."""

    def __init__(self) -> None:
        self._at_s: dict[str, float] = {}  # by what was said
        self._withheld = False

    def is_news(self, words: str) -> bool:
        """Return whether to say it, now."""
        now_s = time.monotonic()
        if now_s - self._at_s.get(words, -math.inf) < RARELY_S:
            self._withheld = True
            return False
        self._at_s[words] = now_s
        return True

    def settle(self) -> bool:
        """A connection holds: whatever comes is news again. Return whether anything was left unsaid before."""
        withheld, self._withheld = self._withheld, False
        self._at_s.clear()
        return withheld


def refused(reason: ReasonCode, *, named: bool) -> str:
    """Return with what words a broker refused us. named: whether we said a user name."""
    account = reason.value in (134, 135) and not named
    return f"refused: {reason}{_NAMELESS if account else _REFUSED.get(reason.value, '')}"


def in_words(error: OSError | ValueError, *, tls: bool) -> str:
    """Return what an attempt to connect failed with. `tls`: whether TLS was spoken."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = _NOT_ACCEPTED.get(error.verify_code, f"{error.verify_message} (renew it, or see edge.mqtt.tls)")
        return f"its certificate is not accepted: {words}"
    if "WRONG_VERSION_NUMBER" in str(error) or (isinstance(error, ssl.SSLEOFError | ConnectionResetError) and tls):
        return "does not speak TLS on this port (edge.mqtt.tls is set)"
    if isinstance(error, ssl.SSLError):
        alert = (error.reason or "the two sides found no common ground").replace("_", " ").lower()
        told = next((words for part, words in _ALERTS.items() if part in alert), "see edge.mqtt.tls")
        return f"TLS failed: {alert} ({told})"
    if isinstance(error, socket.gaierror):
        return f"host name not found ({error.strerror.lower()})"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_S:.0f} s"
    return (getattr(error, "strerror", None) or str(error) or "no answer").lower()


def guess(*, tls: bool) -> str:
    """Return what may be meant by a broker that closes a connection without an MQTT answer, or answers otherwise."""
    if tls:
        return (
            "does it want a client certificate (edge.mqtt.tls.cert_file)? "
            "Is it older than MQTT 5, or is this a websockets port?"
        )
    return "is it older than MQTT 5, or is this a websockets port, or a TLS port (edge.mqtt.tls)?"
