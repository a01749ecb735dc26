"""Drives the lab's containers: images, start and stop, readiness, seeding, endpoints."""
