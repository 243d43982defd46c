"""The libraries and file formats that encoders come in: a module each."""
