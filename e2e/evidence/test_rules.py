"""Recording rules and alerts, in Prometheus' own tests of rules."""

import subprocess
from pathlib import Path

import yaml
from evidence_support import ROOT
from host import build
from workshop.build import PROMETHEUS

RULES = ROOT / "charts" / "aurora-operator" / "rules" / "aurora.yaml"
TESTS = (Path(__file__).parent / "rules.yaml").read_text()


def test_the_rules_alert_when_they_should(tmp_path):
    tests = tmp_path / "tests.yaml"
    tests.write_text(TESTS.replace("RULES", str(RULES)))
    promtool = Path(build("Prometheus", 90, PROMETHEUS)) / "promtool"
    done = subprocess.run([promtool, "test", "rules", tests], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]
    assert [alert for alert in alerts if f"alertname: {alert}\n" not in TESTS] == []
