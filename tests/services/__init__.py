"""Services on the loopback that answer like the real ones; see `tests.services.server`."""
