"""The operator: turns a SpeculatorDeployment into serving, training, and drafts that earned their promotion."""
