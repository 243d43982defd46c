"""What clipaudit costs, as ratios of times that are taken in turn in one run."""
