"""Scenarios: what they are made of, how they are read, and how they run.

A scenario needs nothing but `Endpoints`, so it runs against any mail stack that can be reached.
"""
