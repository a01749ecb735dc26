"""The measurements, one file and one line here each."""

from labctl.bench.measurement import Measurement
from labctl.bench.measurements.cost import COST
from labctl.bench.measurements.effect import EFFECT
from labctl.bench.measurements.footprint import FOOTPRINT
from labctl.bench.measurements.labs import LABS
from labctl.bench.measurements.memory import MEMORY
from labctl.bench.measurements.scale import SCALE
from labctl.bench.measurements.scenario import SCENARIO
from labctl.bench.measurements.start import START
from labctl.bench.measurements.survive import SURVIVE

TABLE: tuple[Measurement, ...] = (
    EFFECT,
    COST,
    SCALE,
    START,
    SCENARIO,
    LABS,
    MEMORY,
    FOOTPRINT,
    SURVIVE,
)
