"""An evaluation set on disk: pictures labelled members and non-members, with where each is from.

keywords → records of a source → `collecting` (downloads, in order, no picture twice) → `drawing`
(which are members, which are joined with which) → `joining` → `manifest` and `card`.
"""
