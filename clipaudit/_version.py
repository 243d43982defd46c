"""The versions of the package and of what it writes, each in this one place."""

__version__ = "0.2.0"

SCHEMA_VERSION = "1.0"
"""Version of every document that programs read: audits, evaluations, lookups, manifests.

Additions raise the second number; see docs/schemas.
"""
