"""Where tests find the repository's files, and data sets and networks of others."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
# `BNNFLOW_DATA`, else shared/data beside the repository; tests that need what is not there are skipped.
DATA = Path(os.environ.get("BNNFLOW_DATA", ROOT.parent / "shared" / "data"))
