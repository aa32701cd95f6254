"""Why there is no connection, in words."""

import socket
import ssl

from paho.mqtt.reasoncodes import ReasonCode

ANSWER_S = 4.0  # for the connection, and again for the broker's first answer


_REFUSED = {  # by reason code
    132: " (it is older than MQTT 5)",
    134: " (is the user name or password wrong?)",
    135: " (is the user name or password wrong?)",
}


def refused(reason: ReasonCode) -> str:
    """Return with what words a broker refused us."""
    return f"refused: {reason}{_REFUSED.get(reason.value, '')}"


def in_words(error: OSError | ValueError, *, tls: bool) -> str:
    """Return what an attempt to connect failed with. `tls`: whether TLS was spoken."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if "WRONG_VERSION_NUMBER" in str(error) or (isinstance(error, ssl.SSLEOFError | ConnectionResetError) and tls):
        return "does not speak TLS on this port (edge.mqtt.tls is set)"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
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
