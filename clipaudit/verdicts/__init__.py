"""Scores → verdicts, by calibration and by control."""
