"""roomtone: the sensor. It knows neither `train` nor `convert`."""

__version__ = "0.1.0"
