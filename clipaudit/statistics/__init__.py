"""Arrays in, plain data out: metrics, rank tests, calibration, conformal verdicts."""
