"""An `Evaluation` as a table, a document and figures."""
