"""Stand-ins for camera, cloud and broker, and the demo of all; no code shared with the agent."""
