"""The Kubernetes operator of SpeculatorDeployments."""
