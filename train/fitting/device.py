"""What the backend computes on."""

import keras


def gpus() -> list[str]:
    """Return the GPUs that training will use; none where it uses the CPU."""
    if keras.backend.backend() == "torch":  # the one backend that Keras cannot ask
        import torch

        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [name for name in keras.distribution.list_devices() if name.startswith(("gpu", "cuda"))]


def device() -> str:
    """Return backend and device in words."""
    return f"{keras.backend.backend()} on {', '.join(gpus()) or 'CPU'}"
