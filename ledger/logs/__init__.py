"""The interface of a log, and its backends."""
