"""The resource SpeculatorDeployment: its spec, its status, and its schema."""

GROUP = "aurora-operator.io"
VERSION = "v1alpha1"
KIND = "SpeculatorDeployment"
PLURAL = "speculatordeployments"
