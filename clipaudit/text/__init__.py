"""Words for people: numbers, and names that may hold anything."""
