"""What libraries print past Python, kept off the terminal: what goes wrong comes as an exception."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_OUTPUT, _ERRORS = 1, 2


@contextmanager
def unheard(*, output: bool = False) -> Iterator[None]:
    """Keep standard error, and with `output` standard output too, from whatever is written to the descriptor itself.

    Other threads' words on them are lost meanwhile: to be held for moments.
    """
    descriptors = (_OUTPUT, _ERRORS) if output else (_ERRORS,)
    kept, nowhere = [os.dup(descriptor) for descriptor in descriptors], os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    try:
        yield
    finally:
        if output:
            ctypes.CDLL(None).fflush(None)  # C keeps what is printed until much later
        for descriptor, original in zip(descriptors, kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
        os.close(nowhere)
