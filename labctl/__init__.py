"""The mail-policy lab's tool: brings the lab up, and replays scenarios against it."""

__version__ = "0.1.0"
