"""How much of a block is at full scale, against counting sample by sample."""

import numpy as np
import pytest

from edge.sound.level import CLIPPING, clipped

ROOM = 0.01 * np.random.default_rng(0).standard_normal(1_280).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 0.3, -0.3])
@pytest.mark.parametrize("amplitude", [0.9, 0.989, 0.9985, 0.999, 1.0])
@pytest.mark.parametrize("count", [0, 1, 2, 600])
def test_samples_at_full_scale_are_counted_however_quiet_the_others_are(offset: float, amplitude: float, count: int):
    captured = ROOM.copy()
    captured[7 : 7 + count] = amplitude * np.resize([1, -1], count)
    at_full_scale = sum(abs(float(sample)) >= np.float32(CLIPPING) for sample in captured)
    assert at_full_scale in (0, count)
    assert clipped(captured, 0.0) == at_full_scale
    # An offset is taken away from samples, and what is put back is off by an ulp: amplitudes here are further away.
    if amplitude != CLIPPING:
        assert clipped(captured - np.float32(offset), offset) == at_full_scale
