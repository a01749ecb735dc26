"""How examples are made: no test depends on how fast the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "any machine",
    settings(),  # that of CI, where this is CI
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")
