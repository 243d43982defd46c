"""Pictures → signals: views, embeddings, what is measured on them, and the store that keeps it."""
