"""Shadow encoders: pre-trained here, on pictures whose membership is known."""
