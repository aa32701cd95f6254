"""paho-mqtt's client, `paho`, without what it brings only to ask for a proxy, which it has use for with PySocks alone.

urllib.request brings http and email: 1.2 MB of the sensor's memory at its peak.
"""

import importlib.util
import sys
from types import ModuleType

_UNUSED = "urllib.request"

if _UNUSED in sys.modules or importlib.util.find_spec("socks"):
    import paho.mqtt.client as paho
else:
    sys.modules[_UNUSED] = ModuleType(_UNUSED)
    try:
        import paho.mqtt.client as paho
    finally:
        del sys.modules[_UNUSED]

__all__ = ["paho"]
