"""A real Kafka broker and a real schema registry for the tests, from wherever one can be had."""

from tests.services.broker import Broker, JavaBroker, JavaCluster, start_broker
from tests.services.java import Unavailable
from tests.services.registry import Registry, start_registry

__all__ = [
    "Broker",
    "JavaBroker",
    "JavaCluster",
    "Registry",
    "Unavailable",
    "start_broker",
    "start_registry",
]
