"""Measures a lab: how soon a decision takes effect, what the policy costs, how it all grows.

`measurement` says what one is and what it is handed, and `measurements/` holds them, one file and
one line in its table each. A measurement yields figures and charts, as frozen values; `result` is
what is kept of them, `compare` holds two results against each other, `plot` draws.
"""
