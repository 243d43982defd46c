"""The sources of pictures: a module each."""
