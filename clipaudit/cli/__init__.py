"""The command line: flags in, text out, no work of its own."""
