"""Captions of pictures: where the words come from that a picture was published with."""
