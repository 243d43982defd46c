"""An `Audit` as one page that opens offline."""
