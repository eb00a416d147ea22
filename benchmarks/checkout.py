"""Imported before `hier`: what is measured is the code of this checkout, whatever is installed."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "src"))
