"""An epoch as Keras takes it, a batch at a time: the next is drawn while this one trains."""

import time

import keras
import numpy as np

from train.fitting.prepare import Prepared


class Batches(keras.utils.PyDataset):
    """The batches of one epoch (from 0); every draw depends on the seed, the epoch and the batch alone.

    contrast: each batch has what the contrast's output is to learn, beside the labels.
    """

    def __init__(self, data: Prepared, epoch: int, size: int, *, contrast: bool) -> None:
        super().__init__()
        self._data, self._epoch, self._size, self._contrast = data, epoch, size, contrast
        self._order = data.order(epoch)
        self.seconds = 0.0  # spent on drawing

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    def __getitem__(self, number: int) -> tuple:
        """Return the inputs, the truth and its weights (none where every window counts the same) of a batch."""
        began = time.thread_time()
        those = self._order[number * self._size : (number + 1) * self._size]
        windows, truth, weight, keys = self._data.batch(those, self._epoch, number)
        if self._contrast:
            truth, weight = (truth, keys), (weight, np.ones(len(keys), np.float32))
        self.seconds += time.thread_time() - began
        return (windows, truth) if weight is None else (windows, truth, weight)
