"""Pictures and summaries of artifacts."""
