"""The camera privacy agent."""
