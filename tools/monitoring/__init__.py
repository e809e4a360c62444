"""What is generated for people who watch: Grafana dashboards, and the page of all metrics."""
