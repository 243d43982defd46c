"""Published lists of pre-training pictures: what is in them, and rows drawn from them.

Parquet, TSV and CSV files on this machine are read where they lie; nothing is asked of a server.
"""

from clipaudit.listings.columns import ROLES, Role, parse_columns
from clipaudit.listings.rows import Listed
from clipaudit.listings.sampling import Sample, sample

__all__ = ["ROLES", "Listed", "Role", "Sample", "parse_columns", "sample"]
