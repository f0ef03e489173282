"""Write the pages of the documentation that are generated.

    python tools/docs.py [--check]

`docs/ops.md` comes from the same records as `rfponnx ops`.  With `--check` nothing is written;
exit 1 if a page is stale.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def ops_page() -> str:
    """Return the table of operators, as `rfponnx ops --markdown` prints it."""
    from rfponnx.ops.registry import table
    from rfponnx_cli.ops import page

    return page(table())


PAGES: dict[str, Callable[[], str]] = {"docs/ops.md": ops_page}


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text, encoding="utf-8")
    print(f"{'stale' if check else 'written'}: {', '.join(stale)}" if stale else "up to date")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
