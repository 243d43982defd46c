"""An `Audit` as a table and as files."""
