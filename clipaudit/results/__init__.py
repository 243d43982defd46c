"""Plain data that every report reads."""
