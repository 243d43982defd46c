"""JSON schemas as the tests hold documents against them."""

from __future__ import annotations


def strict(schema):
    """The schema with every object closed, so that no field goes undescribed."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(value) for name, value in schema.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed["unevaluatedProperties"] = False
    return closed
