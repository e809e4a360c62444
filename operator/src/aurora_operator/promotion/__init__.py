"""When a candidate becomes stable: pure statistics and decisions. No client, no clock."""
