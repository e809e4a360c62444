"""The chart's Grafana dashboards as pictures, of what a real Prometheus recorded.

Runs every panel's queries as Grafana would and draws the panels at their positions, without Grafana. ``make quickstart
DASHBOARDS=FOLDER`` does the same at its end, with the Prometheus of its run; this command is for any other one:

    python benchmarks/dashboards.py --url http://localhost:9090 --hours 2 --folder /tmp/pictures

Writes dashboard_deployment.png, dashboard_fleet.png and dashboard_training.png.
"""

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from monitoring.asked import Span
from monitoring.picture import draw_all


def main() -> None:
    """Ask and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:9090", help="of the Prometheus, without /api/v1")
    parser.add_argument("--hours", type=float, default=3, help="that are shown")
    parser.add_argument(
        "--end", type=datetime.fromisoformat, help="when they end, such as 2026-11-28T03:30:00Z; else now"
    )
    parser.add_argument("--scrape", type=float, default=15, help="seconds between two scrapes")
    parser.add_argument("--speculator", action="append", default=[], help="namespace/name; without any all")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the pictures go")
    options = parser.parse_args()
    end = options.end or datetime.now(UTC)
    span = Span(end - timedelta(hours=options.hours), end, options.scrape)
    with httpx.Client(base_url=options.url, timeout=60) as client:
        try:
            for path in draw_all(options.folder, lambda below: client.get(below).text, span, options.speculator):
                print(path)
        except (httpx.HTTPError, ValueError) as error:
            sys.exit(f"{options.url}: {error}")


if __name__ == "__main__":
    main()
