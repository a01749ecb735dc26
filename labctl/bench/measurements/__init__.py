"""The measurements, one file and one line here each."""

from labctl.bench.measurement import Measurement
from labctl.bench.measurements.effect import EFFECT
from labctl.bench.measurements.scenario import SCENARIO

TABLE: tuple[Measurement, ...] = (EFFECT, SCENARIO)
