"""The configuration that a command was given: a file, and single settings that replace its own."""

import argparse
import sys

import yaml

from aurora_core.config import DeploymentConfig, read


def configuration(arguments: argparse.Namespace) -> DeploymentConfig:
    """Read it; with ``--print-config`` it is printed as YAML, and the command ends.

    Raises:
        ConfigError: as :func:`aurora_core.config.read`.
    """
    config = read(arguments.config, DeploymentConfig, arguments.set)
    if arguments.print_config:
        print(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), end="")
        sys.exit(0)
    return config
