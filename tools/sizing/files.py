"""Every file that follows from the table."""

from pathlib import Path

from sizing import chart_values, manifest, pages
from sizing.table import ROWS


def files(root: Path) -> dict[Path, str]:
    """Path and text of each file."""
    made: dict[Path, str] = {}
    for row in ROWS:
        folder = root / "examples" / row.name
        made |= {
            folder / "speculatordeployment.yaml": manifest.text(row),
            folder / "values.yaml": chart_values.text(row),
            folder / "README.md": pages.readme(row),
        }
    page = root / "docs" / "sizing.md"
    made[page] = pages.filled(page.read_text(), ROWS)
    return made
