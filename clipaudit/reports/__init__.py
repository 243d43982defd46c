"""Plain data → tables, files and pages."""
