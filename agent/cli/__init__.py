"""The shell commands of `privacy-agent`."""
