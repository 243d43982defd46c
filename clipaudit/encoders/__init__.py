"""Stage 3: views → embeddings. `base` says what an encoder is, `spec` finds one by its name."""
