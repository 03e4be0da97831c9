"""The verifiers of schedules and programs."""
