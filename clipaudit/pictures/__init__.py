"""Paths → decoded pictures: finding, reading, decoding, hashing."""
