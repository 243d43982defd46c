"""A `Lookup` as a table and as files."""
