"""`errata demo`: the main job on real data, from registering to proving an old version."""

from producers.demo.story import demo

__all__ = ["demo"]
